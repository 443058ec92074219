import type { z } from "@hono/zod-openapi";
import type { Context } from "hono";
import type { Logger } from "pino";
import { FieldCheck, type FieldSources } from "../fields/index.ts";
import type { Bodies } from "./bodies.ts";
import { readJson } from "./body.ts";
import type { Env } from "./env.ts";

/** Unknown fields that are remembered as told. */
const TOLD_LIMIT = 1024;

/** A kind of request: what it says, and which fields it may have. */
export interface RequestForm<Request> {
  readonly schema: z.ZodType<Request>;
  readonly fields: FieldSources;
  /** What a body says that is empty; undefined: it is refused. */
  readonly whenEmpty?: string;
}

/** A request, and the text that said it. */
export interface SentRequest<Request> {
  readonly request: Request;
  readonly json: string;
}

/** Reads bodies, and says what becomes of their fields. */
export class RequestReader {
  readonly #bodies: Bodies;
  readonly #strict: boolean;
  readonly #log: Logger;
  readonly #checks = new Map<FieldSources, FieldCheck>();
  readonly #told = new Set<string>();

  /** `strict`: fields that nobody knows are refused. */
  constructor(bodies: Bodies, strict: boolean, log: Logger) {
    this.#bodies = bodies;
    this.#strict = strict;
    this.#log = log;
  }

  /** @throws ApiError naming what is wrong with the body, or the field that is refused. */
  async read<Request>(
    context: Context<Env>,
    { schema, fields, whenEmpty }: RequestForm<Request>,
  ): Promise<SentRequest<Request>> {
    const { headers } = context.req.raw;
    // A body that is refused midway leaves its connection open for the answer.
    const pieces = context.env.incoming.iterator({ destroyOnReturn: false });
    const { data, body, json } = await readJson(
      { headers, pieces },
      schema,
      this.#bodies,
      whenEmpty,
    );
    const unknown = this.#checkOf(fields).unknownFields(body, this.#strict);
    if (unknown.length > 0) {
      context.set("ignoredFields", unknown);
      this.#tell(unknown, context.get("route"));
    }
    return { request: data, json };
  }

  #checkOf(fields: FieldSources): FieldCheck {
    const check = this.#checks.get(fields) ?? new FieldCheck(fields);
    this.#checks.set(fields, check);
    return check;
  }

  #tell(unknown: readonly string[], route: string): void {
    for (const field of unknown) {
      const name = `${route} ${field}`;
      if (this.#told.has(name) || this.#told.size >= TOLD_LIMIT) continue;
      this.#told.add(name);
      this.#log.warn({ route, field }, "a field that is not known is ignored");
    }
  }
}
