/** What is decided of a request by where it comes from and which name it uses for this server. */
import { isIP } from "node:net";
import type { MiddlewareHandler } from "hono";
import { getPath } from "hono/utils/url";
import { ApiError } from "../errors.ts";
import type { Env } from "./env.ts";

/** A base URL may end in `/`, and a client may put one more at the end: they mean the same path. */
export function plainPath(request: Request): string {
  const path = getPath(request).replace(/\/{2,}/g, "/");
  return path.length > 1 ? path.replace(/\/$/, "") : path;
}

/** Long enough for a page to ask once. */
const PREFLIGHT_SECONDS = 600;
const exposed = "x-request-id, x-ignored-fields, retry-after";

/** Lets pages of these origins (`*`: of any) read answers. A preflight carries no key. */
export function allowOrigins(origins: readonly string[]): MiddlewareHandler<Env> {
  return async (context, next) => {
    const origin = context.req.header("origin");
    const isAllowed =
      origin !== undefined && (origins.includes("*") || origins.includes(origin.toLowerCase()));
    const isPreflight =
      context.req.method === "OPTIONS" &&
      context.req.header("access-control-request-method") !== undefined;
    if (isAllowed && isPreflight) {
      return new Response(null, {
        status: 204,
        headers: {
          "access-control-allow-origin": origin,
          "access-control-allow-methods": "GET, POST",
          "access-control-allow-headers":
            context.req.header("access-control-request-headers") ?? "authorization, content-type",
          "access-control-max-age": `${PREFLIGHT_SECONDS}`,
          vary: "origin",
        },
      });
    }
    await next();
    if (origins.length > 0) context.header("vary", "origin", { append: true });
    if (!isAllowed) return undefined;
    context.header("access-control-allow-origin", origin);
    context.header("access-control-expose-headers", exposed);
    return undefined;
  };
}

/**
 * Refuses a server without a key to whoever calls it by a foreign name: a page anywhere may give its
 * own name this machine's address. Numbers are nobody's name; they are refused only where the server
 * `isLocal`, listening on this machine's own addresses.
 */
export function assertHost(
  isLocal: boolean,
  allowedHosts: readonly string[],
): MiddlewareHandler<Env> {
  return async (context, next) => {
    const { hostname } = new URL(context.req.url);
    const name = hostname.replace(/^\[|\]$/g, "").toLowerCase();
    if (!isLoopback(name) && !(isIP(name) && !isLocal) && !allowedHosts.includes(name)) {
      const message =
        `host: ${JSON.stringify(name.slice(0, 100))} is not a name of this server, which has no key; ` +
        "see --allowed-hosts and --api-key-file";
      throw new ApiError(403, "host_not_allowed", message);
    }
    await next();
  };
}

/** Whether a name or address means the machine itself. */
export function isLoopback(name: string): boolean {
  if (isIP(name) === 4) return name.startsWith("127.");
  return name === "::1" || name === "localhost" || name.endsWith(".localhost");
}
