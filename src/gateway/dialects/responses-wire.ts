/** What OpenAI's Responses API says, as far as this server does. */
import { z } from "@hono/zod-openapi";
import { modelName } from "../wire.ts";

const textOnly = { error: "expected text: this model reads nothing else" };
const inputPart = z.object({
  type: z.enum(["input_text", "output_text", "text"], textOnly),
  text: z.string(),
});
const refusalPart = z.object({ type: z.literal("refusal"), refusal: z.string() });
const parts = z.array(z.discriminatedUnion("type", [inputPart, refusalPart])).max(1024);

const message = z.object({
  type: z.literal("message").nullish(),
  role: z.enum(["user", "assistant", "system", "developer"]),
  content: z.union([z.string(), parts]),
});
const call = z.object({
  type: z.literal("function_call"),
  call_id: z.string(),
  name: z.string(),
  arguments: z.string(),
});
const result = z.object({
  type: z.literal("function_call_output"),
  call_id: z.string(),
  output: z.union([z.string(), z.array(inputPart).max(1024)]),
});
const summary = z.object({ type: z.literal("summary_text"), text: z.string() });
const thought = z.object({ type: z.literal("reasoning_text"), text: z.string() });
const reasoning = z.object({
  type: z.literal("reasoning"),
  summary: z.array(summary).max(1024).nullish(),
  content: z.array(thought).max(1024).nullish(),
});
const item = z.union([message, z.discriminatedUnion("type", [call, result, reasoning])]);

const tool = z.object({
  type: z.literal("function", { error: "expected a function of the client's own" }),
  name: z.string().min(1),
  description: z.string().nullish(),
  parameters: z.record(z.string(), z.unknown()).nullish(),
  strict: z.boolean().nullish(),
});

export const countInputRequest = z
  .object({
    model: modelName,
    input: z.union([z.string(), z.array(item).min(1).max(4096)]),
    instructions: z.string().nullish(),
    tools: z.array(tool).max(512).nullish(),
    tool_choice: z
      .union([z.enum(["none", "auto", "required"]), z.looseObject({ type: z.string() })])
      .nullish(),
    reasoning: z
      .object({
        effort: z
          .enum(["none", "minimal", "low", "medium", "high", "xhigh", "max", "ultra"])
          .nullish(),
      })
      .nullish(),
    parallel_tool_calls: z.boolean().nullish(),
    previous_response_id: z.string().max(256).nullish(),
  })
  .openapi("ResponseInputTokensRequest");

export const responsesRequest = countInputRequest
  .extend({
    max_output_tokens: z.int().min(1).nullish(),
    temperature: z.number().min(0).max(2).nullish(),
    top_p: z.number().gt(0).max(1).nullish(),
    stream: z.boolean().nullish(),
    store: z.boolean().nullish(),
    text: z.object({ format: z.looseObject({ type: z.string() }).nullish() }).nullish(),
    metadata: z.record(z.string(), z.string()).nullish(),
  })
  .openapi("ResponsesRequest");

/** Neither sources nor log-probabilities are told. */
const none = z.array(z.never().openapi({ type: "null" })).readonly();
const status = z.enum(["in_progress", "completed", "incomplete"]);
const outputText = z.object({
  type: z.literal("output_text"),
  text: z.string(),
  annotations: none,
  logprobs: none,
});
const outputItem = z.discriminatedUnion("type", [
  z.object({
    ...{ id: z.string(), type: z.literal("message"), status },
    role: z.literal("assistant"),
    content: z.array(outputText),
  }),
  z.object({
    ...{ id: z.string(), type: z.literal("reasoning"), status },
    summary: z.array(summary),
    content: z.array(thought),
  }),
  call.extend({ id: z.string(), status }),
]);

const usage = z.object({
  input_tokens: z.int(),
  input_tokens_details: z.object({ cached_tokens: z.int() }),
  output_tokens: z.int(),
  output_tokens_details: z.object({ reasoning_tokens: z.int() }),
  total_tokens: z.int(),
});

export const responseAnswer = z
  .object({
    id: z.string(),
    object: z.literal("response"),
    created_at: z.int(),
    model: z.string(),
    status,
    error: z.null(),
    incomplete_details: z.object({ reason: z.literal("max_output_tokens") }).nullable(),
    output: z.array(outputItem),
    usage: usage.nullable(),
    instructions: z.string().nullable(),
    max_output_tokens: z.int().nullable(),
    metadata: z.record(z.string(), z.string()),
    parallel_tool_calls: z.boolean(),
    previous_response_id: z.string().nullable(),
    reasoning: z.object({ effort: z.string().nullable(), summary: z.null() }),
    store: z.boolean(),
    temperature: z.number().nullable(),
    text: z.object({ format: z.looseObject({ type: z.string() }) }),
    tool_choice: z.unknown(),
    tools: z.array(z.unknown()),
    top_p: z.number().nullable(),
    truncation: z.literal("disabled"),
  })
  .openapi("Response");

const place = { item_id: z.string(), output_index: z.int() };
const contentPlace = { ...place, content_index: z.int() };
const sequence_number = z.int();
const contentPart = z.discriminatedUnion("type", [outputText, thought]);
export const responseEvent = z
  .discriminatedUnion("type", [
    z.object({
      type: z.enum([
        "response.created",
        "response.in_progress",
        "response.completed",
        "response.incomplete",
      ]),
      sequence_number,
      response: responseAnswer,
    }),
    z.object({
      type: z.enum(["response.output_item.added", "response.output_item.done"]),
      sequence_number,
      output_index: z.int(),
      item: outputItem,
    }),
    z.object({
      type: z.enum(["response.content_part.added", "response.content_part.done"]),
      sequence_number,
      ...contentPlace,
      part: contentPart,
    }),
    z.object({
      type: z.enum(["response.output_text.delta", "response.reasoning_text.delta"]),
      sequence_number,
      ...contentPlace,
      delta: z.string(),
      logprobs: none.optional(),
    }),
    z.object({
      type: z.enum(["response.output_text.done", "response.reasoning_text.done"]),
      sequence_number,
      ...contentPlace,
      text: z.string(),
      logprobs: none.optional(),
    }),
    z.object({
      type: z.literal("response.function_call_arguments.delta"),
      sequence_number,
      ...place,
      delta: z.string(),
    }),
    z.object({
      type: z.literal("response.function_call_arguments.done"),
      sequence_number,
      ...place,
      name: z.string(),
      arguments: z.string(),
    }),
  ])
  .openapi("ResponseEvent");

export const countedInput = z
  .object({ object: z.literal("response.input_tokens"), input_tokens: z.int() })
  .openapi("ResponseInputTokens");

export type CountInputRequest = z.infer<typeof countInputRequest>;
export type ResponsesRequest = z.infer<typeof responsesRequest>;
export type ContentPart = z.infer<typeof contentPart>;
export type OutputItem = z.infer<typeof outputItem>;
export type ResponseAnswer = z.infer<typeof responseAnswer>;
type WithoutNumber<Event> = Event extends unknown ? Omit<Event, "sequence_number"> : never;
export type ResponseEvent = z.infer<typeof responseEvent>;
export type UnnumberedEvent = WithoutNumber<ResponseEvent>;
