import { z, type OpenAPIHono } from "@hono/zod-openapi";
import type { Env } from "./routes.ts";
import * as wire from "./wire.ts";
