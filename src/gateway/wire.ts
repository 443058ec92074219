/**
 * What travels over HTTP, once: these schemas validate requests, type answers and make
 * `/openapi.json`. Field names and ranges follow OpenAI's OpenAPI document; `thinking`,
 * `reasoning_content` and the prompt_cache fields follow DeepSeek's API. An optional field may be
 * null, which means absent; `fields/` says what becomes of every other.
 */
import { z } from "@hono/zod-openapi";

const MAX_CHOICES = 16;

/** A list that is measured before its elements are looked at. */
const list = <Element extends z.ZodType>(element: Element, max: number, what: string) =>
  z.array(element).max(max, tooMany(max, what));

const tooMany = (max: number, what: string) => ({
  error: ({ input }: { readonly input?: unknown }) =>
    `expected at most ${max} ${what}, got ${(input as { readonly length: number }).length}`,
});

const textPart = z.object({
  type: z.literal("text", { error: "expected text: this model reads nothing else" }),
  text: z.string(),
});
const content = z.union([z.string(), list(textPart, 1024, "parts")]);

const toolCall = z.object({
  id: z.string().nullish(),
  type: z.literal("function").nullish(),
  function: z.object({
    name: z.string(),
    arguments: z.union([z.string(), z.record(z.string(), z.unknown())]).nullish(),
  }),
});

const message = z.discriminatedUnion("role", [
  z.object({ role: z.enum(["system", "developer", "user"]), content }),
  z.object({
    role: z.literal("assistant"),
    content: content.nullish(),
    reasoning_content: z.string().nullish(),
    reasoning: z.string().nullish(),
    tool_calls: list(toolCall, 128, "calls").nullish(),
    prefix: z.boolean().nullish().openapi({
      description: "Of the last message: the answer goes on from its words.",
    }),
  }),
  z.object({ role: z.literal("tool"), content, tool_call_id: z.string().nullish() }),
]);

const tool = z.object({
  type: z.literal("function"),
  function: z.object({
    name: z.string().min(1),
    description: z.string().nullish(),
    parameters: z.record(z.string(), z.unknown()).nullish(),
    strict: z.boolean().nullish(),
  }),
});

const stopString = z.string().min(1).max(1024, tooMany(1024, "characters"));

/** What every way of asking has. */
export const modelName = z
  .string({ error: "expected a name from /v1/models" })
  .openapi({ description: "A name from /v1/models." });

/** What both ways of asking share. */
const generationFields = {
  model: modelName,
  n: z.int().min(1).max(MAX_CHOICES).nullish(),
  max_tokens: z.int().min(1).nullish().openapi({
    description: "Cut to what the context holds; without it the answer may fill the context.",
  }),
  cache_salt: z.string().min(1).max(256).nullish().openapi({
    description: "Cached prefixes are shared only with requests of the same key and salt.",
  }),
  temperature: z.number().min(0).max(2).nullish().openapi({ description: "0 is greedy." }),
  top_p: z.number().gt(0).max(1).nullish(),
  top_k: z.int().min(-1).nullish().openapi({ description: "0 and -1 keep all tokens." }),
  min_p: z.number().min(0).max(1).nullish(),
  presence_penalty: z.number().min(-2).max(2).nullish(),
  frequency_penalty: z.number().min(-2).max(2).nullish(),
  repetition_penalty: z.number().min(0.01).max(2).nullish(),
  logit_bias: z
    .record(z.string().regex(/^\d{1,9}$/, "expected token ids"), z.number().min(-100).max(100))
    .nullish(),
  ignore_eos: z.boolean().nullish(),
  min_tokens: z.int().min(0).nullish(),
  stop_token_ids: list(z.int().min(0), 128, "tokens").nullish(),
  include_stop_str_in_output: z.boolean().nullish(),
  seed: z.number().refine(Number.isInteger, "expected a whole number").nullish(),
  stop: z
    .union([stopString, list(stopString, 16, "strings")])
    .nullish()
    .openapi({ description: "Searched in the answer; neither reasoning nor tool calls." }),
  structured_outputs: z.looseObject({}).nullish().openapi({
    description: "One of json, json_object, regex, choice and grammar: what the answer must be.",
  }),
  guided_json: z.union([z.looseObject({}), z.string(), z.boolean()]).nullish(),
  guided_json_object: z.boolean().nullish(),
  guided_regex: z.string().nullish(),
  guided_choice: list(z.string(), 4096, "texts").nullish(),
  guided_grammar: z.string().nullish(),
  response_format: z
    .looseObject({ type: z.string() })
    .nullish()
    .openapi({ description: "text, json_object, or json_schema: what the answer must be." }),
  regex: z.string().nullish(),
  ebnf: z.string().nullish(),
  grammar: z.string().nullish().openapi({ description: "GBNF: what the answer must be." }),
  json_schema: z.union([z.looseObject({}), z.string(), z.boolean()]).nullish(),
  stream: z.boolean().nullish(),
  stream_options: z.object({ include_usage: z.boolean().nullish() }).nullish(),
};

export const chatRequest = z
  .object({
    ...generationFields,
    messages: list(message, 4096, "messages").min(1),
    max_completion_tokens: z.int().min(1).nullish(),
    continue_final_message: z.boolean().nullish().openapi({
      description: "The answer goes on from the last message's words, as with its `prefix`.",
    }),
    logprobs: z.boolean().nullish(),
    top_logprobs: z.int().min(0).max(20).nullish(),
    tools: list(tool, 512, "tools").nullish(),
    parallel_tool_calls: z.boolean().nullish(),
    add_generation_prompt: z.boolean().nullish(),
    tool_choice: z
      .union([z.enum(["none", "auto", "required"]), z.looseObject({ type: z.string() })])
      .nullish()
      .openapi({
        description: "none, auto, required, one function by its name, or allowed_tools.",
      }),
    thinking: z.object({ type: z.enum(["enabled", "disabled", "auto"]) }).nullish(),
    reasoning_effort: z
      .enum(["none", "minimal", "low", "medium", "high", "xhigh", "max", "ultra"])
      .nullish()
      .openapi({ description: "none turns thinking off, all else on." }),
    chat_template_kwargs: z
      .looseObject({ thinking: z.boolean().nullish(), enable_thinking: z.boolean().nullish() })
      .nullish(),
    modalities: list(z.string(), 16, "modalities").nullish(),
  })
  .openapi("ChatCompletionRequest");

/** Read in one plain loop: a prompt of token ids may have hundreds of thousands. */
const tokenIds = z
  .custom<number[]>()
  .check(({ value, issues }) => {
    if (!Array.isArray(value) || (value.length > 0 && typeof value[0] !== "number")) {
      issues.push({ code: "invalid_type", expected: "array", input: value });
      return;
    }
    const at = value.findIndex((token) => !Number.isSafeInteger(token) || token < 0);
    if (at >= 0) {
      issues.push({ code: "custom", path: [at], message: "expected a token id", input: value });
    }
  })
  .openapi({ type: "array", items: { type: "integer", minimum: 0 } });

const prompts = <One extends z.ZodType>(one: One) => list(one, 1024, "prompts").min(1);

export const completionRequest = z
  .object({
    ...generationFields,
    prompt: z.union([z.string(), tokenIds, prompts(z.string()), prompts(tokenIds)], {
      error: "expected a string, an array of strings, token ids or an array of token-id arrays",
    }),
    logprobs: z.int().min(0).max(20).nullish(),
    echo: z.boolean().nullish(),
  })
  .openapi("CompletionRequest");

export const tokenizeRequest = z
  .object({
    model: z.string().nullish(),
    prompt: z.string(),
    add_special_tokens: z
      .boolean()
      .nullish()
      .openapi({ description: "Begins with the begin-of-sentence token; true by default." }),
  })
  .openapi("TokenizeRequest");

export const usage = z
  .object({
    prompt_tokens: z.int(),
    completion_tokens: z.int(),
    total_tokens: z.int(),
    prompt_cache_hit_tokens: z.int(),
    prompt_cache_miss_tokens: z.int(),
    prompt_tokens_details: z.object({ cached_tokens: z.int() }),
    completion_tokens_details: z.object({
      reasoning_tokens: z.int(),
      accepted_prediction_tokens: z.int(),
      rejected_prediction_tokens: z.int(),
    }),
  })
  .openapi("Usage");

const tokenLogprob = z.object({
  token: z.string(),
  logprob: z.number(),
  bytes: z.array(z.int()),
});
const chatLogprob = tokenLogprob.extend({ top_logprobs: z.array(tokenLogprob) });
const chatLogprobs = z
  .object({
    content: z.array(chatLogprob),
    reasoning_content: z.array(chatLogprob).optional(),
    refusal: z.null(),
  })
  .openapi("ChatLogprobs");

const completionLogprobs = z
  .object({
    tokens: z.array(z.string()),
    token_logprobs: z.array(z.number()),
    top_logprobs: z.array(z.record(z.string(), z.number())).nullable(),
    text_offset: z.array(z.int()),
  })
  .openapi("CompletionLogprobs");

const chatFinishReason = z.enum(["stop", "length", "tool_calls"]);
const finishReason = z.enum(["stop", "length"]);

const calledTool = z.object({
  id: z.string(),
  type: z.literal("function"),
  function: z.object({ name: z.string(), arguments: z.string() }),
});

const chatAnswer = z.object({
  role: z.literal("assistant"),
  content: z.string().nullable(),
  reasoning_content: z.string().optional(),
  reasoning: z.string().optional(),
  tool_calls: z.array(calledTool).optional(),
});

const chatDelta = z.object({
  role: z.literal("assistant").optional(),
  content: z.string().optional(),
  reasoning_content: z.string().optional(),
  reasoning: z.string().optional(),
  tool_calls: z
    .array(
      z.object({
        index: z.int(),
        id: z.string().optional(),
        type: z.literal("function").optional(),
        function: z.object({ name: z.string().optional(), arguments: z.string() }),
      }),
    )
    .optional(),
});

const answerFields = { id: z.string(), created: z.int(), model: z.string() };

export const chatCompletion = z
  .object({
    ...answerFields,
    object: z.literal("chat.completion"),
    choices: z.array(
      z.object({
        index: z.int(),
        message: chatAnswer,
        logprobs: chatLogprobs.nullable(),
        finish_reason: chatFinishReason,
      }),
    ),
    usage,
  })
  .openapi("ChatCompletion");

export const chatCompletionChunk = z
  .object({
    ...answerFields,
    object: z.literal("chat.completion.chunk"),
    choices: z.array(
      z.object({
        index: z.int(),
        delta: chatDelta,
        logprobs: chatLogprobs.optional(),
        finish_reason: chatFinishReason.nullable(),
      }),
    ),
    usage: usage.nullish(),
  })
  .openapi("ChatCompletionChunk");

/** Also the form of a stream's chunks. */
export const completion = z
  .object({
    ...answerFields,
    object: z.literal("text_completion"),
    choices: z.array(
      z.object({
        index: z.int(),
        text: z.string(),
        logprobs: completionLogprobs.nullable(),
        finish_reason: finishReason.nullable(),
      }),
    ),
    usage: usage.nullish(),
  })
  .openapi("Completion");

export const model = z
  .object({
    id: z.string(),
    object: z.literal("model"),
    created: z.int(),
    owned_by: z.string(),
    max_model_len: z.int(),
  })
  .openapi("Model");

export const modelList = z
  .object({ object: z.literal("list"), data: z.array(model) })
  .openapi("ModelList");

export const tokenized = z
  .object({ count: z.int(), max_model_len: z.int(), tokens: z.array(z.int()) })
  .openapi("Tokenized");

export const detokenizeRequest = z
  .object({ model: z.string().nullish(), tokens: tokenIds })
  .openapi("DetokenizeRequest");

export const detokenized = z.object({ prompt: z.string() }).openapi("Detokenized");

export const version = z.object({ version: z.string() }).openapi("Version");

export const health = z
  .object({
    status: z.enum(["ok", "draining", "no_unit"]),
    waiting: z.int(),
    running: z.int(),
    without_unit: z.array(z.string()).optional().openapi({
      description: "Models of which no unit serves.",
    }),
  })
  .openapi("Health");

export const errorEnvelope = z
  .object({
    error: z.object({
      message: z.string(),
      type: z.string(),
      param: z.string().nullable(),
      code: z.string(),
    }),
  })
  .openapi("Error");

export type ChatRequest = z.infer<typeof chatRequest>;
export type CompletionRequest = z.infer<typeof completionRequest>;
export type SharedRequest = Pick<CompletionRequest, keyof typeof generationFields>;
export type Usage = z.infer<typeof usage>;
export type ChatLogprob = z.infer<typeof chatLogprob>;
export type ChatLogprobs = z.infer<typeof chatLogprobs>;
export type CompletionLogprobs = z.infer<typeof completionLogprobs>;
export type ChatAnswer = z.infer<typeof chatAnswer>;
export type ChatDelta = z.infer<typeof chatDelta>;
export type ChatCompletion = z.infer<typeof chatCompletion>;
export type ChatCompletionChunk = z.infer<typeof chatCompletionChunk>;
export type Completion = z.infer<typeof completion>;
export type Model = z.infer<typeof model>;
export type ModelList = z.infer<typeof modelList>;
export type Tokenized = z.infer<typeof tokenized>;
export type Detokenized = z.infer<typeof detokenized>;
export type Version = z.infer<typeof version>;
export type Health = z.infer<typeof health>;
export type ErrorEnvelope = z.infer<typeof errorEnvelope>;
