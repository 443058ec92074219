import { Hono, type Context, type MiddlewareHandler } from "hono";
import type { Logger } from "pino";
import type { DashboardFiles } from "./dashboard-files.ts";
import { type Counting, createDialects, type Dialect } from "../dialects/index.ts";
import { ApiError, ClientGone, knownError } from "../errors.ts";
import type { Env } from "./env.ts";
import type { Metrics } from "../telemetry/index.ts";
import type { Keyring } from "../keys/index.ts";
import { allowOrigins, assertHost, plainPath } from "./edge.ts";
import { openApiDocument } from "./openapi.ts";

type Endpoint = (context: Context<Env>) => Response | Promise<Response>;

/** What the gateway answers; each may throw an ApiError. */
export interface Endpoints {
  converse<Request>(context: Context<Env>, dialect: Dialect<Request>): Promise<Response>;
  count<Request>(context: Context<Env>, counting: Counting<Request>): Promise<Response>;
  completions(context: Context<Env>): Promise<Response>;
  tokenize(context: Context<Env>): Promise<Response>;
  detokenize(context: Context<Env>): Promise<Response>;
  models(): Response;
  model(id: string): Response;
  metrics(): Promise<Response>;
  status(context: Context<Env>): Promise<Response>;
  statusEvents(context: Context<Env>): Response;
  rebalance(context: Context<Env>): Promise<Response>;
  scale(context: Context<Env>): Promise<Response>;
  health(): Response;
  ready(): Response;
  live(): Response;
}

export interface RouteOptions {
  readonly keyring: Keyring;
  readonly listensLocally: boolean;
  readonly allowedHosts: readonly string[];
  readonly allowedOrigins: readonly string[];
  readonly isDraining: () => boolean;
  readonly log: Logger;
  readonly metrics: Metrics;
  /** Undefined: there is no page. */
  readonly dashboard: DashboardFiles | undefined;
  readonly now: () => number;
  readonly createId: (prefix: string) => string;
}

/** Before a path of OpenAI's API. */
const prefixes = ["/v1", ""];

/** Paths of OpenAI's API that this server names when it refuses them. */
const unserved: Readonly<Record<string, string>> = {
  "/embeddings": "this model makes no embeddings",
  "/files": "there is no file storage",
  "/batches": "there is no batch queue",
};

/** The HTTP face: paths with and without `/v1`, identity, errors, log. */
export function createApp(endpoints: Endpoints, options: RouteOptions): Hono<Env> {
  const app = new Hono<Env>({ getPath: plainPath });
  const { dialects, countings } = createDialects();
  /** Made when it is first asked for: it takes longer than all other routes together. */
  let document: ReturnType<typeof openApiDocument> | undefined;
  const { keyring, dashboard } = options;
  app.use(observe(options));
  app.use(allowOrigins(options.allowedOrigins));
  if (keyring.isOpen) app.use(assertHost(options.listensLocally, options.allowedHosts));
  app.onError((error, context) => errorResponse(error, context, options.log));
  app.notFound((context) => refuseUnknown(context));

  const route = (method: "GET" | "POST", path: string, endpoint: Endpoint) => {
    app.on(method, path, (context) => {
      context.set("route", path);
      return endpoint(context);
    });
    app.all(path, (context) => {
      context.set("route", path);
      throw wrongMethod(context.req.method, method);
    });
  };
  route("GET", "/health", () => endpoints.health());
  route("GET", "/readyz", () => endpoints.ready());
  for (const path of ["/livez", "/version"]) route("GET", path, () => endpoints.live());
  route("GET", "/openapi.json", (context) =>
    context.json((document ??= openApiDocument(dialects, countings))),
  );
  if (dashboard) {
    for (const path of dashboard.paths) route("GET", path, () => dashboard.respond(path));
  }
  for (const dialect of [...dialects, ...countings]) {
    for (const prefix of prefixes) app.use(`${prefix}${dialect.path}`, errorsOf(dialect));
  }
  app.use(authenticate(keyring));
  for (const path of ["/rebalance", "/scale"]) app.use(path, operatorsOnly);
  route("GET", "/metrics", () => endpoints.metrics());
  route("GET", "/status", (context) => endpoints.status(context));
  route("GET", "/status/events", (context) => endpoints.statusEvents(context));
  route("POST", "/rebalance", (context) => endpoints.rebalance(context));
  route("POST", "/scale", (context) => endpoints.scale(context));
  for (const prefix of prefixes) {
    for (const dialect of dialects) {
      route("POST", `${prefix}${dialect.path}`, (context) => endpoints.converse(context, dialect));
    }
    for (const counting of countings) {
      route("POST", `${prefix}${counting.path}`, (context) => endpoints.count(context, counting));
    }
    route("POST", `${prefix}/completions`, (context) => endpoints.completions(context));
    route("POST", `${prefix}/tokenize`, (context) => endpoints.tokenize(context));
    route("POST", `${prefix}/detokenize`, (context) => endpoints.detokenize(context));
    route("GET", `${prefix}/models`, () => endpoints.models());
    route("GET", `${prefix}/models/:id{.+}`, (context) =>
      endpoints.model(context.req.param("id") ?? ""),
    );
  }
  return app;
}

function observe({
  log,
  metrics,
  now,
  createId,
  isDraining,
}: RouteOptions): MiddlewareHandler<Env> {
  return async (context, next) => {
    const began = now();
    const sent = context.req
      .header("x-request-id")
      ?.replace(/[^\w.:-]/g, "")
      .slice(0, 128);
    const requestId = sent || createId("req-");
    context.set("requestId", requestId);
    await next();
    context.header("x-request-id", requestId);
    const ignored = context.get("ignoredFields");
    if (ignored) context.header("x-ignored-fields", ignored.join(", "));
    if (isDraining()) context.header("connection", "close");
    const route = context.get("route") ?? "unknown";
    const { status } = context.res;
    metrics.countRequest(route, status);
    log.info(
      { requestId, method: context.req.method, route, status, ms: now() - began },
      "request",
    );
  };
}

const errorsOf =
  (dialect: Pick<Dialect<unknown>, "describeError">): MiddlewareHandler<Env> =>
  async (context, next) => {
    context.set("describeError", (error) => dialect.describeError(error));
    await next();
  };

function authenticate(keyring: Keyring): MiddlewareHandler<Env> {
  return async (context, next) => {
    const [, bearer] = /^Bearer\s+(.+)$/i.exec(context.req.header("authorization") ?? "") ?? [];
    const key = bearer ?? context.req.header("x-api-key");
    const caller = keyring.find(key);
    if (!caller) {
      const message = `${key === undefined ? "missing" : "invalid"} API key; expected authorization: Bearer KEY`;
      throw new ApiError(401, "invalid_api_key", message, {
        headers: { "www-authenticate": "Bearer" },
      });
    }
    context.set("caller", caller);
    await next();
  };
}

const operatorsOnly: MiddlewareHandler<Env> = async (context, next) => {
  if (!context.get("caller").isOperator) {
    const message = 'this key may not change what serves; expected one with "operator": true';
    throw new ApiError(403, "not_an_operator", message);
  }
  await next();
};

function errorResponse(error: unknown, context: Context<Env>, log: Logger): Response {
  // 499 is nginx's status for a client that has gone; it is only ever logged and counted.
  if (error instanceof ClientGone) return new Response(null, { status: 499 });
  const known = knownError(error, log);
  const describe = context.get("describeError") ?? ((each: ApiError) => each.envelope());
  return context.json(describe(known), known.status, { ...known.headers });
}

function wrongMethod(method: string, allow: string): ApiError {
  return new ApiError(405, "method_not_allowed", `expected ${allow}, got ${method}`, {
    headers: { allow },
  });
}

function refuseUnknown(context: Context<Env>): Response {
  const { path, method } = context.req;
  const name = `${method} ${path.slice(0, 200)}`;
  const [family] = /^\/[^/]*/.exec(path.replace(/^\/v1(?=\/)/, "")) ?? [""];
  const advice = unserved[family];
  const error = advice
    ? new ApiError(404, "unsupported_endpoint", `${name} is not supported yet: ${advice}`)
    : new ApiError(404, "unknown_url", `${name} is not served here; see /openapi.json`);
  return context.json(error.envelope(), error.status);
}
