import type { EngineDriver } from "../engine-driver.ts";
import { ApiError, invalidValue, unsupported } from "../errors.ts";
import type { TextWorker } from "../text/index.ts";
import { offeredTools } from "./tool-choice.ts";
import type { ChatRequest, CompletionRequest } from "../wire.ts";

/** Calls in the conversation so far. */
export function countCalls({ messages }: ChatRequest): number {
  return messages.reduce((sum, message) => {
    return sum + ("tool_calls" in message ? (message.tool_calls?.length ?? 0) : 0);
  }, 0);
}

/** How many prompts a raw request asks to be continued. */
export function countPrompts({ prompt }: CompletionRequest): number {
  return typeof prompt === "string" || isTokens(prompt) ? 1 : prompt.length;
}

/** What a raw request asks to be continued, as text. */
export function promptTexts(
  { prompt }: CompletionRequest,
  decode: (tokens: readonly number[]) => string,
): string[] {
  if (typeof prompt === "string") return [prompt];
  const prompts: readonly (string | readonly number[])[] = isTokens(prompt) ? [prompt] : prompt;
  return prompts.map((each) => (typeof each === "string" ? each : decode(each)));
}

/** Requests' words as tokens, refused where they cannot fit the context. */
export class PromptWriter {
  readonly #text: TextWorker;
  readonly #maxModelLen: number;
  readonly #limitedBy: string;
  readonly #vocabSize: number;

  constructor(text: TextWorker, engine: EngineDriver) {
    this.#text = text;
    this.#maxModelLen = engine.maxModelLen;
    this.#limitedBy = engine.limitedBy ? ` (${engine.limitedBy})` : "";
    this.#vocabSize = engine.vocabSize;
  }

  /** @throws ApiError when the messages do not fit, or the template cannot say them. */
  async chat(
    request: ChatRequest,
    thinking: boolean | undefined,
    signal: AbortSignal,
  ): Promise<Uint32Array> {
    const tools = offeredTools(request);
    if (tools.length > 0 && this.#text.toolCallFormat === undefined) {
      const message = "tools: how this model writes calls is not known; offer it none";
      throw unsupported("tools", message);
    }
    const continuesFinal = request.continue_final_message ?? false;
    const options = { ...request.chat_template_kwargs, tools, thinking, continuesFinal };
    const { messages } = request;
    const task = { kind: "chat", messages, options, limit: this.#limit } as const;
    const [prompt] = await this.#text.perform(task, signal);
    return this.#assertFits(prompt, "messages");
  }

  /** @throws ApiError when a prompt does not fit or holds unknown tokens. */
  async completions(
    prompt: CompletionRequest["prompt"],
    signal: AbortSignal,
  ): Promise<readonly Uint32Array[]> {
    if (typeof prompt === "string") return this.#raw([prompt], true, signal);
    const prompts: readonly (string | readonly number[])[] = isTokens(prompt) ? [prompt] : prompt;
    const tokens = prompts.map((each) =>
      typeof each === "string" ? undefined : this.#assertTokens(each),
    );
    const texts = prompts.filter((each) => typeof each === "string");
    const encoded = texts.length === 0 ? [] : [...(await this.#raw(texts, true, signal))];
    return tokens.map((each) => each ?? (encoded.shift() as Uint32Array));
  }

  /** A raw prompt may name special tokens. `begins`: with exactly one begin-of-sentence token. */
  async text(text: string, begins: boolean, signal: AbortSignal): Promise<Uint32Array> {
    const [prompt] = await this.#raw([text], begins, signal);
    return prompt;
  }

  async #raw(
    texts: readonly string[],
    begins: boolean,
    signal: AbortSignal,
  ): Promise<readonly Uint32Array[]> {
    for (const text of texts) this.#assertMayFit(text);
    const task = { kind: "raw", texts, begins, limit: this.#limit } as const;
    const prompts = await this.#text.perform(task, signal);
    return prompts.map((prompt) => this.#assertFits(prompt, "prompt"));
  }

  /** The longest prompt that leaves room for an answer. */
  get #limit(): number {
    return this.#maxModelLen - 1;
  }

  /** Refuses what is far too long before it costs anything to find out how long it is. */
  #assertMayFit(text: string): void {
    const least = this.#text.vocabulary.minimumTokens(text);
    if (least > this.#limit) throw this.#tooLong(least, "prompt");
  }

  #assertFits(tokens: Uint32Array, param: string): Uint32Array {
    if (tokens.length > this.#limit) throw this.#tooLong(tokens.length, param);
    return tokens;
  }

  #assertTokens(tokens: readonly number[]): Uint32Array {
    if (tokens.length === 0) throw invalidValue("prompt", "prompt: expected tokens, got none");
    const foreign = tokens.find((token) => token >= this.#vocabSize);
    if (foreign !== undefined) {
      const message = `prompt: expected token ids below ${this.#vocabSize}, got ${foreign}`;
      throw invalidValue("prompt", message);
    }
    return this.#assertFits(Uint32Array.from(tokens), "prompt");
  }

  /** `least`: a text is encoded no further than the limit. */
  #tooLong(least: number, param: string): ApiError {
    const message =
      `This model's maximum context length is ${this.#maxModelLen} tokens, ` +
      `the answer included${this.#limitedBy}; the prompt has at least ${least}.`;
    return new ApiError(400, "context_length_exceeded", message, { param });
  }
}

const isTokens = (prompt: readonly unknown[]): prompt is number[] =>
  prompt.every((each) => typeof each === "number");
