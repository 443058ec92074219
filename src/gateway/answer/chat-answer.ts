import type { ChoiceDelta } from "./choice-output.ts";
import type { ChoiceFinish } from "../billing/index.ts";
import type { Generation } from "./generation.ts";
import { chatLogprob } from "./logprobs.ts";
import type {
  ChatAnswer,
  ChatCompletion,
  ChatCompletionChunk,
  ChatDelta,
  ChatLogprobs,
} from "../wire.ts";

export interface AnswerHead {
  readonly id: string;
  /** Seconds since 1970. */
  readonly created: number;
  readonly model: string;
}

export interface ChatAnswerOptions {
  readonly head: AnswerHead;
  readonly choices: number;
  readonly includeUsage: boolean;
  readonly logprobs: boolean;
  readonly tokenBytes: (token: number) => Uint8Array;
  /** Where thoughts are told. */
  readonly reasoningField: ReasoningField;
  /** The id of a call that the model has not named itself. */
  readonly createCallId: () => string;
}

/** DeepSeek's name, or vLLM's and OpenRouter's. */
export const reasoningFields = ["reasoning_content", "reasoning"] as const;
export type ReasoningField = (typeof reasoningFields)[number];

/** The answer as it comes, in OpenAI's chunks. */
export async function* chatChunks(
  generation: Generation,
  options: ChatAnswerOptions,
): AsyncGenerator<ChatCompletionChunk> {
  const head = { ...options.head, object: "chat.completion.chunk" as const };
  const noUsage = options.includeUsage ? { usage: null } : {};
  const chunk = (
    index: number,
    delta: ChatDelta,
    finish_reason: ChoiceFinish | null = null,
    logprobs?: ChatLogprobs,
  ): ChatCompletionChunk => ({
    ...head,
    choices: [{ index, delta, ...(logprobs ? { logprobs } : {}), finish_reason }],
    ...noUsage,
  });

  const begun = new Set<number>();
  for await (const event of generation.events()) {
    const { choice } = event;
    if (!begun.has(choice)) yield chunk(choice, { role: "assistant", content: "" });
    begun.add(choice);
    if (event.kind === "finished") yield chunk(choice, {}, event.reason);
    else
      yield chunk(choice, wireDelta(event.delta, options), null, logprobsOf(event.delta, options));
  }
  if (options.includeUsage) yield { ...head, choices: [], usage: generation.usage() };
}

/** The answer when it is complete. */
export async function chatCompletion(
  generation: Generation,
  options: ChatAnswerOptions,
): Promise<ChatCompletion> {
  const drafts = Array.from({ length: options.choices }, () => new ChatDraft(options));
  for await (const event of generation.events()) {
    if (event.kind === "finished") drafts[event.choice].finish = event.reason;
    else drafts[event.choice].add(event.delta);
  }
  return {
    ...options.head,
    object: "chat.completion",
    choices: drafts.map((draft, index) => ({
      index,
      message: draft.message(),
      logprobs: draft.logprobs,
      finish_reason: draft.finish,
    })),
    usage: generation.usage(),
  };
}

/** One choice's message while it is being written. */
class ChatDraft {
  readonly #options: ChatAnswerOptions;
  readonly logprobs: ChatLogprobs | null;
  finish: ChoiceFinish = "stop";
  #content = "";
  #reasoning = "";
  readonly #calls: NonNullable<ChatAnswer["tool_calls"]> = [];

  constructor(options: ChatAnswerOptions) {
    this.#options = options;
    this.logprobs = options.logprobs ? { content: [], refusal: null } : null;
  }

  add(delta: ChoiceDelta): void {
    if (delta.kind === "content") this.#content += delta.text;
    else if (delta.kind === "reasoning") this.#reasoning += delta.text;
    else if (delta.kind === "tool-call") this.#calls[delta.index] = newCall(delta, this.#options);
    else this.#calls[delta.index].function.arguments += delta.text;
    const logprobs = logprobsOf(delta, this.#options);
    if (!this.logprobs || !logprobs) return;
    this.logprobs.content.push(...logprobs.content);
    if (logprobs.reasoning_content) {
      (this.logprobs.reasoning_content ??= []).push(...logprobs.reasoning_content);
    }
  }

  message(): ChatAnswer {
    const reasoning = this.#reasoning;
    const silent = this.#content === "" && (reasoning !== "" || this.#calls.length > 0);
    return {
      role: "assistant",
      content: silent ? null : this.#content,
      ...(reasoning === "" ? {} : { [this.#options.reasoningField]: reasoning }),
      ...(this.#calls.length === 0 ? {} : { tool_calls: this.#calls }),
    };
  }
}

type CallBegin = Extract<ChoiceDelta, { kind: "tool-call" }>;

function wireDelta(delta: ChoiceDelta, options: ChatAnswerOptions): ChatDelta {
  switch (delta.kind) {
    case "content":
      return { content: delta.text };
    case "reasoning":
      return { [options.reasoningField]: delta.text };
    case "tool-call":
      return { tool_calls: [{ index: delta.index, ...newCall(delta, options) }] };
    case "tool-arguments":
      return { tool_calls: [{ index: delta.index, function: { arguments: delta.text } }] };
  }
}

const newCall = ({ name, id }: CallBegin, options: ChatAnswerOptions) => ({
  id: id ?? options.createCallId(),
  type: "function" as const,
  function: { name, arguments: "" },
});

function logprobsOf(delta: ChoiceDelta, options: ChatAnswerOptions): ChatLogprobs | undefined {
  if (!options.logprobs || !("tokens" in delta) || delta.tokens.length === 0) return undefined;
  const entries = delta.tokens.map((token) => chatLogprob(token, options.tokenBytes));
  return delta.kind === "content"
    ? { content: entries, refusal: null }
    : { content: [], reasoning_content: entries, refusal: null };
}
