import { ChatTemplateError, type ChatTemplate, type Tokenizer } from "../../model/index.ts";
import type { EngineDriver } from "../engine-driver.ts";
import { ApiError, invalidValue } from "../errors.ts";
import type { ChatRequest, CompletionRequest } from "../wire.ts";

/** The functions the model may call. */
export function offeredTools({
  tools,
  tool_choice,
}: ChatRequest): NonNullable<ChatRequest["tools"]> {
  return tool_choice === "none" ? [] : (tools ?? []);
}

/** How many prompts a raw request asks to be continued. */
export function countPrompts({ prompt }: CompletionRequest): number {
  return typeof prompt === "string" || isTokens(prompt) ? 1 : prompt.length;
}

/** Requests' words as tokens, refused where they cannot fit the context. */
export class PromptWriter {
  readonly #tokenizer: Tokenizer;
  readonly #template: ChatTemplate;
  readonly #maxModelLen: number;
  readonly #vocabSize: number;

  constructor(tokenizer: Tokenizer, template: ChatTemplate, engine: EngineDriver) {
    this.#tokenizer = tokenizer;
    this.#template = template;
    this.#maxModelLen = engine.maxModelLen;
    this.#vocabSize = engine.vocabSize;
  }

  /** @throws ApiError when the messages do not fit, or the template cannot say them. */
  chat(request: ChatRequest, thinking: boolean | undefined): Uint32Array {
    const tools = offeredTools(request);
    const { messages } = request;
    this.#assertMayFit(JSON.stringify([messages, tools]), "messages");
    const kwargs = { ...request.chat_template_kwargs, tools, thinking };
    try {
      return this.#assertFits(this.#template.render(messages, kwargs), "messages");
    } catch (error) {
      if (error instanceof ChatTemplateError) throw invalidValue(error.field, error.message);
      throw error;
    }
  }

  /** @throws ApiError when a prompt does not fit or holds unknown tokens. */
  completions(prompt: CompletionRequest["prompt"]): Uint32Array[] {
    if (typeof prompt === "string") return [this.text(prompt)];
    return isTokens(prompt)
      ? [this.#assertTokens(prompt)]
      : prompt.map((each) =>
          typeof each === "string" ? this.text(each) : this.#assertTokens(each),
        );
  }

  /** A raw prompt may name special tokens; it begins with exactly one begin-of-sentence token. */
  text(text: string, begins = true): Uint32Array {
    this.#assertMayFit(text, "prompt");
    const tokens = this.#tokenizer.encode(text, { specials: true });
    const { bos } = this.#tokenizer;
    const whole = begins && bos !== undefined && tokens[0] !== bos ? [bos, ...tokens] : tokens;
    return this.#assertFits(whole, "prompt");
  }

  /** Refuses what is far too long before it costs anything to find out how long it is. */
  #assertMayFit(text: string, param: string): void {
    const least = this.#tokenizer.minimumTokens(text);
    if (least >= this.#maxModelLen) throw this.#tooLong(`at least ${least}`, param);
  }

  #assertFits(tokens: number[], param: string): Uint32Array {
    if (tokens.length >= this.#maxModelLen) throw this.#tooLong(`${tokens.length}`, param);
    return Uint32Array.from(tokens);
  }

  #assertTokens(tokens: number[]): Uint32Array {
    if (tokens.length === 0) throw invalidValue("prompt", "prompt: expected tokens, got none");
    const foreign = tokens.find((token) => token >= this.#vocabSize);
    if (foreign !== undefined) {
      const message = `prompt: expected token ids below ${this.#vocabSize}, got ${foreign}`;
      throw invalidValue("prompt", message);
    }
    return this.#assertFits(tokens, "prompt");
  }

  #tooLong(length: string, param: string): ApiError {
    const message =
      `This model's maximum context length is ${this.#maxModelLen} tokens, ` +
      `the answer included; the prompt has ${length}.`;
    return new ApiError(400, "context_length_exceeded", message, { param });
  }
}

const isTokens = (prompt: readonly unknown[]): prompt is number[] =>
  prompt.every((each) => typeof each === "number");
