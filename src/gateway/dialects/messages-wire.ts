/** What Anthropic's Messages API says, as far as this server does. */
import { z } from "@hono/zod-openapi";
import { modelName } from "../wire.ts";

const text = z.object({ type: z.literal("text"), text: z.string() });

const textOnly = { error: "expected text: this model reads nothing else" };
const texts = z.union([
  z.string(),
  z.array(z.object({ type: z.literal("text", textOnly), text: z.string() })).max(1024),
]);

const toolResult = z.object({
  type: z.literal("tool_result"),
  tool_use_id: z.string(),
  content: texts.nullish(),
  is_error: z.boolean().nullish(),
});

const thinking = z.object({ type: z.literal("thinking"), thinking: z.string() });
const redacted = z.object({ type: z.literal("redacted_thinking") });
const toolUse = z.object({
  type: z.literal("tool_use"),
  id: z.string(),
  name: z.string(),
  input: z.record(z.string(), z.unknown()),
});

const blocks = <Block extends z.ZodType>(block: Block) =>
  z.union([z.string(), z.array(block).max(1024)]);

const message = z.discriminatedUnion("role", [
  z.object({
    role: z.literal("user"),
    content: blocks(z.discriminatedUnion("type", [text, toolResult])),
  }),
  z.object({
    role: z.literal("assistant"),
    content: blocks(z.discriminatedUnion("type", [text, thinking, redacted, toolUse])),
  }),
  z.object({ role: z.literal("system"), content: texts }),
]);

const tool = z.object({
  type: z.literal("custom", { error: "expected a tool of the client's own" }).nullish(),
  name: z.string().min(1),
  description: z.string().nullish(),
  input_schema: z.record(z.string(), z.unknown()),
  strict: z.boolean().nullish(),
});

export const countRequest = z
  .object({
    model: modelName,
    messages: z.array(message).min(1).max(4096),
    system: texts.nullish(),
    tools: z.array(tool).max(512).nullish(),
    tool_choice: z
      .object({
        type: z.enum(["auto", "any", "tool", "none"]),
        name: z.string().nullish(),
        disable_parallel_tool_use: z.boolean().nullish(),
      })
      .nullish(),
    thinking: z.object({ type: z.enum(["enabled", "adaptive", "disabled"]) }).nullish(),
  })
  .openapi("MessageTokensRequest");

export const messagesRequest = countRequest
  .extend({
    max_tokens: z.int().min(1),
    stop_sequences: z.array(z.string().min(1).max(1024)).max(16).nullish(),
    stream: z.boolean().nullish(),
    temperature: z.number().min(0).max(2).nullish(),
    top_p: z.number().gt(0).max(1).nullish(),
    top_k: z.int().min(-1).nullish(),
    output_config: z
      .object({
        format: z
          .object({ type: z.literal("json_schema"), schema: z.record(z.string(), z.unknown()) })
          .nullish(),
      })
      .nullish(),
  })
  .openapi("MessagesRequest");

const usage = z.object({
  input_tokens: z.int(),
  cache_creation_input_tokens: z.int(),
  cache_read_input_tokens: z.int(),
  output_tokens: z.int(),
});

const block = z.discriminatedUnion("type", [
  text,
  thinking.extend({ signature: z.string() }),
  toolUse,
]);

const stopReason = z.enum(["end_turn", "max_tokens", "stop_sequence", "tool_use"]);

export const messageAnswer = z
  .object({
    id: z.string(),
    type: z.literal("message"),
    role: z.literal("assistant"),
    model: z.string(),
    content: z.array(block),
    stop_reason: stopReason.nullable(),
    stop_sequence: z.string().nullable(),
    usage,
  })
  .openapi("Message");

const index = z.int();
export const messageEvent = z
  .discriminatedUnion("type", [
    z.object({ type: z.literal("message_start"), message: messageAnswer }),
    z.object({ type: z.literal("content_block_start"), index, content_block: block }),
    z.object({
      type: z.literal("content_block_delta"),
      index,
      delta: z.discriminatedUnion("type", [
        z.object({ type: z.literal("text_delta"), text: z.string() }),
        z.object({ type: z.literal("thinking_delta"), thinking: z.string() }),
        z.object({ type: z.literal("input_json_delta"), partial_json: z.string() }),
      ]),
    }),
    z.object({ type: z.literal("content_block_stop"), index }),
    z.object({
      type: z.literal("message_delta"),
      delta: z.object({ stop_reason: stopReason, stop_sequence: z.string().nullable() }),
      usage,
    }),
    z.object({ type: z.literal("message_stop") }),
  ])
  .openapi("MessageEvent");

export const countedTokens = z.object({ input_tokens: z.int() }).openapi("MessageTokens");

export type CountRequest = z.infer<typeof countRequest>;
export type MessagesRequest = z.infer<typeof messagesRequest>;
export type MessageUsage = z.infer<typeof usage>;
export type MessageBlock = z.infer<typeof block>;
export type MessageAnswer = z.infer<typeof messageAnswer>;
export type MessageEvent = z.infer<typeof messageEvent>;
