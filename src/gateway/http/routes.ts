import { createHash, timingSafeEqual } from "node:crypto";
import type { HttpBindings } from "@hono/node-server";
import { Hono, type Context, type MiddlewareHandler } from "hono";
import type { Logger } from "pino";
import type { DashboardFiles } from "./dashboard-files.ts";
import { ApiError, ClientGone } from "../errors.ts";
import type { Metrics } from "../status/index.ts";
import { openApiDocument } from "./openapi.ts";

export interface Env {
  Variables: { requestId: string; route: string };
  Bindings: HttpBindings;
}

type Endpoint = (context: Context<Env>) => Response | Promise<Response>;

/** What the gateway answers; each may throw an ApiError. */
export interface Endpoints {
  chat(context: Context<Env>): Promise<Response>;
  completions(context: Context<Env>): Promise<Response>;
  tokenize(context: Context<Env>): Promise<Response>;
  models(): Response;
  model(id: string): Response;
  metrics(): Promise<Response>;
  status(): Promise<Response>;
  statusEvents(): Response;
  rebalance(): Promise<Response>;
  health(): Response;
}

export interface RouteOptions {
  readonly apiKey: string | undefined;
  readonly log: Logger;
  readonly metrics: Metrics;
  /** Undefined: there is no page. */
  readonly dashboard: DashboardFiles | undefined;
  readonly now: () => number;
  readonly createId: (prefix: string) => string;
}

/** Paths of OpenAI's API that this server names when it refuses them. */
const unserved: Readonly<Record<string, string>> = {
  "/responses": "use /v1/chat/completions",
  "/embeddings": "this model makes no embeddings",
  "/messages": "use /v1/chat/completions",
  "/files": "there is no file storage",
  "/batches": "there is no batch queue",
};

/** The HTTP face: paths with and without `/v1`, identity, errors, log. */
export function createApp(endpoints: Endpoints, options: RouteOptions): Hono<Env> {
  const app = new Hono<Env>();
  const document = openApiDocument();
  app.use(observe(options));
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
  route("GET", "/openapi.json", (context) => context.json(document));
  const { dashboard } = options;
  if (dashboard) {
    for (const path of dashboard.paths) route("GET", path, () => dashboard.respond(path));
  }
  if (options.apiKey !== undefined) app.use(authenticate(options.apiKey));
  route("GET", "/metrics", () => endpoints.metrics());
  route("GET", "/status", () => endpoints.status());
  route("GET", "/status/events", () => endpoints.statusEvents());
  route("POST", "/rebalance", () => endpoints.rebalance());
  for (const prefix of ["/v1", ""]) {
    route("POST", `${prefix}/chat/completions`, (context) => endpoints.chat(context));
    route("POST", `${prefix}/completions`, (context) => endpoints.completions(context));
    route("POST", `${prefix}/tokenize`, (context) => endpoints.tokenize(context));
    route("GET", `${prefix}/models`, () => endpoints.models());
    route("GET", `${prefix}/models/:id{.+}`, (context) =>
      endpoints.model(context.req.param("id") ?? ""),
    );
  }
  return app;
}

function observe({ log, metrics, now, createId }: RouteOptions): MiddlewareHandler<Env> {
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
    const route = context.get("route") ?? "unknown";
    const { status } = context.res;
    metrics.countRequest(route, status);
    log.info(
      { requestId, method: context.req.method, route, status, ms: now() - began },
      "request",
    );
  };
}

function authenticate(apiKey: string): MiddlewareHandler<Env> {
  const digest = (text: string) => createHash("sha256").update(text).digest();
  const expected = digest(apiKey);
  return async (context, next) => {
    const [, key] = /^Bearer\s+(.+)$/i.exec(context.req.header("authorization") ?? "") ?? [];
    if (key === undefined || !timingSafeEqual(digest(key), expected)) {
      const message = `${key === undefined ? "missing" : "invalid"} API key; expected authorization: Bearer KEY`;
      throw new ApiError(401, "invalid_api_key", message, {
        headers: { "www-authenticate": "Bearer" },
      });
    }
    await next();
  };
}

function errorResponse(error: unknown, context: Context<Env>, log: Logger): Response {
  // 499 is nginx's status for a client that has gone; it is only ever logged and counted.
  if (error instanceof ClientGone) return new Response(null, { status: 499 });
  const known = knownError(error, log);
  return context.json(known.envelope(), known.status, { ...known.headers });
}

/** The error a client is told of; what is unexpected is logged whole and told in one word. */
export function knownError(error: unknown, log: Logger): ApiError {
  if (error instanceof ApiError) return error;
  log.error({ err: error }, "unexpected error");
  return new ApiError(500, "internal_error", "the server failed to answer; its log says why");
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
