import type { HttpBindings } from "@hono/node-server";
import type { ApiError } from "../errors.ts";
import type { Caller } from "../keys/index.ts";

/** What is known of a request while it is answered. */
export interface Env {
  Variables: {
    requestId: string;
    route: string;
    /** Who asks. */
    caller: Caller;
    /** Of the body, those that nobody knows. */
    ignoredFields?: readonly string[];
    /** As the path's own API has errors. */
    describeError?: (error: ApiError) => object;
  };
  Bindings: HttpBindings;
}
