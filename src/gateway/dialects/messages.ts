import type { ApiError } from "../errors.ts";
import { readSource } from "../json-source.ts";
import type { Usage } from "../wire.ts";
import { type AnswerPart, answerParts, type PartEvent } from "./answer-parts.ts";
import type { Answer, Counting, Dialect } from "./dialect.ts";
import { countFields, messagesFields } from "./messages-fields.ts";
import { askedChatOf, chatOf, fieldOf, rememberInputs } from "./messages-request.ts";
import * as wire from "./messages-wire.ts";

/** Anthropic's Messages. */
export const messagesDialect: Dialect<wire.MessagesRequest> = {
  path: "/messages",
  summary: "Answers a conversation, as Anthropic's API has it",
  schema: wire.messagesRequest,
  fields: messagesFields,
  response: wire.messageAnswer,
  chunk: wire.messageEvent,
  idPrefix: "msg_",
  framing: "named",
  toChat: (request, _, json) => askedChatOf(rememberInputs(request, json)),
  fieldOf,
  stream,
  whole,
  describeError,
  errorEvent: describeError,
};

export const messageTokens: Counting<wire.CountRequest> = {
  path: "/messages/count_tokens",
  summary: "How many tokens a conversation has, as Anthropic's API asks",
  schema: wire.countRequest,
  fields: countFields,
  response: wire.countedTokens,
  toChat: (request, _, json) => chatOf(rememberInputs(request, json)),
  fieldOf,
  tell: (tokens) => ({ input_tokens: tokens }),
  describeError,
};

async function* stream(answer: Answer<wire.MessagesRequest>): AsyncGenerator<wire.MessageEvent> {
  const { generation } = answer;
  let begun = false;
  for await (const event of partsOf(answer)) {
    // Not before the prompt's usage is known.
    if (!begun) yield { type: "message_start", message: messageOf(answer, []) };
    begun = true;
    if (event.kind === "finished") {
      yield {
        type: "message_delta",
        delta: endOf(event),
        usage: usageOf(generation.usage()),
      };
    } else yield partEvent(event);
  }
  yield { type: "message_stop" };
}

async function whole(answer: Answer<wire.MessagesRequest>): Promise<wire.MessageAnswer> {
  const content: wire.MessageBlock[] = [];
  for await (const event of partsOf(answer)) {
    if (event.kind === "ended") content.push(wholeBlock(event.part));
    if (event.kind === "finished") return { ...messageOf(answer, content), ...endOf(event) };
  }
  return messageOf(answer, content);
}

const partsOf = ({ generation, createId }: Answer<wire.MessagesRequest>) =>
  answerParts(generation, createId, "toolu_");

const messageOf = (
  { head, generation }: Answer<wire.MessagesRequest>,
  content: wire.MessageBlock[],
): wire.MessageAnswer => ({
  ...{ id: head.id, type: "message", role: "assistant", model: head.model, content },
  ...{ stop_reason: null, stop_sequence: null, usage: usageOf(generation.usage()) },
});

function partEvent(event: Exclude<PartEvent, { kind: "finished" }>): wire.MessageEvent {
  const { index, kind } = event.part;
  if (event.kind === "ended") return { type: "content_block_stop", index };
  if (event.kind === "begun") {
    return { type: "content_block_start", index, content_block: emptyBlock(event.part) };
  }
  const delta = {
    text: { type: "text_delta", text: event.text },
    reasoning: { type: "thinking_delta", thinking: event.text },
    call: { type: "input_json_delta", partial_json: event.text },
  } as const;
  return { type: "content_block_delta", index, delta: delta[kind] };
}

function emptyBlock({ kind, name, callId }: AnswerPart): wire.MessageBlock {
  if (kind === "text") return { type: "text", text: "" };
  if (kind === "reasoning") return { type: "thinking", thinking: "", signature: "" };
  return { type: "tool_use", id: callId, name, input: {} };
}

function wholeBlock(part: AnswerPart): wire.MessageBlock {
  const block = emptyBlock(part);
  if (block.type === "text") return { ...block, text: part.text };
  if (block.type === "thinking") return { ...block, thinking: part.text };
  return { ...block, input: inputOf(part.text) };
}

/** Arguments are told as the model wrote them; what is no JSON as a text. */
function inputOf(text: string): Record<string, unknown> {
  try {
    return readSource(text) as Record<string, unknown>;
  } catch {
    return { arguments: text };
  }
}

function endOf({ reason, stopString }: Extract<PartEvent, { kind: "finished" }>) {
  const reasons = { stop: "end_turn", length: "max_tokens", tool_calls: "tool_use" } as const;
  const stop_reason = stopString === undefined ? reasons[reason] : ("stop_sequence" as const);
  return { stop_reason, stop_sequence: stopString ?? null };
}

/** A prompt's tokens are either read from the cache or not; writing it costs nothing. */
const usageOf = (usage: Usage): wire.MessageUsage => ({
  input_tokens: usage.prompt_cache_miss_tokens,
  cache_creation_input_tokens: 0,
  cache_read_input_tokens: usage.prompt_cache_hit_tokens,
  output_tokens: usage.completion_tokens,
});

const typeOfStatus: Readonly<Record<number, string>> = {
  400: "invalid_request_error",
  401: "authentication_error",
  403: "permission_error",
  404: "not_found_error",
  413: "request_too_large",
  415: "invalid_request_error",
  429: "rate_limit_error",
  503: "overloaded_error",
};

function describeError({ status, message }: ApiError) {
  return { type: "error", error: { type: typeOfStatus[status] ?? "api_error", message } };
}
