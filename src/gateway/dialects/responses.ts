import type { ApiError } from "../errors.ts";
import type { ChatRequest, Usage } from "../wire.ts";
import { type AnswerPart, answerParts, type PartEvent } from "./answer-parts.ts";
import type { Answer, Counting, Dialect } from "./dialect.ts";
import { ResponseStore } from "./response-store.ts";
import { countInputFields, responsesFields } from "./responses-fields.ts";
import { askedChatOf, chatOf, fieldOf, messagesOf } from "./responses-request.ts";
import * as wire from "./responses-wire.ts";

/** Characters of all conversations that are kept: a few hundred long ones. */
const KEPT_CHARACTERS = 32 * 2 ** 20;

type ResponseOf = Answer<wire.ResponsesRequest>;

/** OpenAI's Responses, with conversations that are kept in memory. */
export function createResponses(): {
  readonly dialect: Dialect<wire.ResponsesRequest>;
  readonly counting: Counting<wire.CountInputRequest>;
} {
  const store = new ResponseStore(KEPT_CHARACTERS);
  const earlier = ({ previous_response_id: id }: wire.CountInputRequest, tenant: string) =>
    id ? store.find(id, tenant) : [];
  const keep = (
    { request, chat, head, tenant }: ResponseOf,
    output: readonly wire.OutputItem[],
  ) => {
    if (request.store === false) return;
    store.keep(head.id, tenant, [...withoutInstructions(request, chat), ...messagesOf(output)]);
  };
  const describeError = (error: ApiError) => error.envelope();
  return {
    dialect: {
      path: "/responses",
      summary: "Answers a conversation, as OpenAI's Responses have it",
      schema: wire.responsesRequest,
      fields: responsesFields,
      response: wire.responseAnswer,
      chunk: wire.responseEvent,
      idPrefix: "resp_",
      framing: "named",
      toChat: (request, tenant) => askedChatOf(request, earlier(request, tenant)),
      fieldOf,
      stream: (answer) => numbered(stream(answer, keep)),
      whole: (answer) => whole(answer, keep),
      describeError,
      errorEvent: ({ code, message, param }) => ({ type: "error", code, message, param }),
    },
    counting: {
      path: "/responses/input_tokens",
      summary: "How many tokens a conversation has, as OpenAI's Responses ask",
      schema: wire.countInputRequest,
      fields: countInputFields,
      response: wire.countedInput,
      toChat: (request, tenant) => chatOf(request, earlier(request, tenant)),
      fieldOf,
      tell: (tokens) => ({ object: "response.input_tokens", input_tokens: tokens }),
      describeError,
    },
  };
}

type Keep = (answer: ResponseOf, output: readonly wire.OutputItem[]) => void;

const withoutInstructions = ({ instructions }: wire.ResponsesRequest, { messages }: ChatRequest) =>
  instructions ? messages.slice(1) : messages;

async function* numbered(
  events: AsyncGenerator<wire.UnnumberedEvent>,
): AsyncGenerator<wire.ResponseEvent> {
  let count = 0;
  for await (const event of events) {
    yield { ...event, sequence_number: count++ };
  }
}

async function* stream(answer: ResponseOf, keep: Keep): AsyncGenerator<wire.UnnumberedEvent> {
  const output: wire.OutputItem[] = [];
  const response = responseOf(answer, "in_progress", []);
  let begun = false;
  for await (const event of itemsOf(answer)) {
    // Not before the engine has taken the request in: a failure has a status until then.
    if (!begun) {
      yield { type: "response.created", response };
      yield { type: "response.in_progress", response };
    }
    begun = true;
    if (event.kind === "finished") {
      keep(answer, output);
      const status = statusOf(event);
      yield { type: `response.${status}`, response: responseOf(answer, status, output) };
    } else {
      yield* partEvents(event);
      if (event.kind === "ended") output.push(itemOf(event.part, "completed"));
    }
  }
}

async function whole(answer: ResponseOf, keep: Keep): Promise<wire.ResponseAnswer> {
  const output: wire.OutputItem[] = [];
  let status: "completed" | "incomplete" = "completed";
  for await (const event of itemsOf(answer)) {
    if (event.kind === "ended") output.push(itemOf(event.part, "completed"));
    if (event.kind === "finished") status = statusOf(event);
  }
  keep(answer, output);
  return responseOf(answer, status, output);
}

const itemsOf = ({ generation, createId }: ResponseOf) =>
  answerParts(generation, createId, "call_");

const statusOf = ({ reason }: Extract<PartEvent, { kind: "finished" }>) =>
  reason === "length" ? "incomplete" : "completed";

const idOf = (part: AnswerPart): string =>
  `${{ text: "msg", reasoning: "rs", call: "fc" }[part.kind]}_${part.id}`;

function* partEvents(
  event: Exclude<PartEvent, { kind: "finished" }>,
): Generator<wire.UnnumberedEvent> {
  const { part } = event;
  const place = { item_id: idOf(part), output_index: part.index };
  const content = { ...place, content_index: 0 };
  const names = textEvents[part.kind === "reasoning" ? "reasoning" : "text"];
  if (event.kind === "begun") {
    const item = itemOf(part, "in_progress");
    yield { type: "response.output_item.added", output_index: part.index, item };
    if (part.kind === "call") return;
    yield { type: "response.content_part.added", ...content, part: contentOf(part) };
  } else if (event.kind === "said") {
    yield part.kind === "call"
      ? { type: "response.function_call_arguments.delta", ...place, delta: event.text }
      : { type: names.delta, ...content, delta: event.text, ...names.logprobs };
  } else {
    const { text, name } = part;
    if (part.kind === "call") {
      yield { type: "response.function_call_arguments.done", ...place, name, arguments: text };
    } else {
      yield { type: names.done, ...content, text, ...names.logprobs };
      yield { type: "response.content_part.done", ...content, part: contentOf(part) };
    }
    const item = itemOf(part, "completed");
    yield { type: "response.output_item.done", output_index: part.index, item };
  }
}

const textEvents = {
  text: {
    delta: "response.output_text.delta",
    done: "response.output_text.done",
    logprobs: { logprobs: [] },
  },
  reasoning: {
    delta: "response.reasoning_text.delta",
    done: "response.reasoning_text.done",
    logprobs: {},
  },
} as const;

const contentOf = ({ kind, text }: AnswerPart): wire.ContentPart =>
  kind === "reasoning"
    ? { type: "reasoning_text", text }
    : { type: "output_text", text, annotations: [], logprobs: [] };

function itemOf(part: AnswerPart, status: "in_progress" | "completed"): wire.OutputItem {
  const id = idOf(part);
  const { kind, text, name, callId: call_id } = part;
  if (kind === "call") return { id, type: "function_call", status, call_id, name, arguments: text };
  // An item has its content when it is complete; until then it is told part by part.
  const told = status === "completed";
  if (kind === "reasoning") {
    const content = told ? [{ type: "reasoning_text" as const, text }] : [];
    return { id, type: "reasoning", status, summary: [], content };
  }
  const written = { type: "output_text" as const, text, annotations: [], logprobs: [] };
  return { id, type: "message", status, role: "assistant", content: told ? [written] : [] };
}

function responseOf(
  { request, head, generation }: ResponseOf,
  status: wire.ResponseAnswer["status"],
  output: wire.OutputItem[],
): wire.ResponseAnswer {
  return {
    ...{ id: head.id, object: "response", created_at: head.created, model: head.model },
    ...{ status, error: null, output },
    incomplete_details: status === "incomplete" ? { reason: "max_output_tokens" } : null,
    usage: status === "in_progress" ? null : usageOf(generation.usage()),
    instructions: request.instructions ?? null,
    max_output_tokens: request.max_output_tokens ?? null,
    metadata: request.metadata ?? {},
    parallel_tool_calls: request.parallel_tool_calls ?? true,
    previous_response_id: request.previous_response_id ?? null,
    reasoning: { effort: request.reasoning?.effort ?? null, summary: null },
    store: request.store ?? true,
    temperature: request.temperature ?? null,
    text: { format: request.text?.format ?? { type: "text" } },
    tool_choice: request.tool_choice ?? "auto",
    tools: request.tools ?? [],
    top_p: request.top_p ?? null,
    truncation: "disabled",
  };
}

const usageOf = (usage: Usage): NonNullable<wire.ResponseAnswer["usage"]> => ({
  input_tokens: usage.prompt_tokens,
  input_tokens_details: usage.prompt_tokens_details,
  output_tokens: usage.completion_tokens,
  output_tokens_details: {
    reasoning_tokens: usage.completion_tokens_details.reasoning_tokens,
  },
  total_tokens: usage.total_tokens,
});
