import type { z } from "@hono/zod-openapi";
import type { AnswerHead, Generation, ReasoningField } from "../answer/index.ts";
import type { ApiError } from "../errors.ts";
import type { FieldSources } from "../fields/index.ts";
import type { ChatRequest } from "../wire.ts";

/** An answer to a conversation, as a dialect tells it. */
export interface Answer<Request> {
  readonly request: Request;
  /** The same as the conversation that is answered. */
  readonly chat: ChatRequest;
  readonly head: AnswerHead;
  readonly generation: Generation;
  readonly reasoningField: ReasoningField;
  readonly tokenBytes: (token: number) => Uint8Array;
  readonly createId: (prefix: string) => string;
  /** Whose conversations may be gone on with. */
  readonly tenant: string;
}

/**
 * A way of asking for a conversation's next message, and of telling it. Every conversation is one in
 * OpenAI's chat form inside; only a dialect knows its own.
 */
export interface Dialect<Request> {
  /** Also served below `/v1`. */
  readonly path: string;
  readonly summary: string;
  readonly schema: z.ZodType<Request>;
  readonly fields: FieldSources;
  readonly response: z.ZodType;
  /** Of a stream. */
  readonly chunk: z.ZodType;
  /** Begins an answer's id. */
  readonly idPrefix: string;
  /** `named`: each event of a stream has a name, its `type`; `plain`: none, and the last is `[DONE]`. */
  readonly framing: "named" | "plain";
  /** `json`: what said it. @throws ApiError naming the field that cannot be said. */
  toChat(request: Request, tenant: string, json: string): ChatRequest;
  /** What a field of the chat is called in the dialect. */
  fieldOf(field: string): string;
  /** The answer as it comes. */
  stream(answer: Answer<Request>): AsyncGenerator<object>;
  whole(answer: Answer<Request>): Promise<object>;
  describeError(error: ApiError): object;
  /** An error as an event of a stream. */
  errorEvent(error: ApiError): object;
}

/** A way of asking how many tokens a conversation has. */
export interface Counting<Request> extends Pick<
  Dialect<Request>,
  "path" | "summary" | "schema" | "fields" | "response" | "toChat" | "fieldOf" | "describeError"
> {
  tell(tokens: number): object;
}
