/**
 * What a model says, told apart by token ids as they come: thoughts between `<think>` and `</think>`, tool calls
 * between their markers, and the rest, which is the answer. Markers never reach the reader; the text of a call that
 * is cut off or malformed does. A tokenizer without the markers' tokens gives answers only.
 */
import { Detokenizer } from "./detokenizer.ts";
import type { OutputDelta } from "./output-delta.ts";
import { ToolCallReader, type ToolCallFormat } from "./tool-call-reader.ts";
import type { Vocabulary } from "./vocabulary.ts";

export interface OutputOptions {
  /** The prompt ended inside `<think>`. */
  readonly startsInReasoning: boolean;
  /** Undefined leaves calls in the content, without their markers. */
  readonly toolCalls: ToolCallFormat | undefined;
}

/** Whether the prompt's last marker is `<think>`, so that the model goes on with thoughts. */
export function startsInReasoning(vocabulary: Vocabulary, prompt: Uint32Array): boolean {
  const last = prompt.findLast((token) => vocabulary.isSpecial(token));
  return last !== undefined && last === vocabulary.specialId("<think>");
}

export class OutputParser {
  readonly #vocabulary: Vocabulary;
  readonly #think: number | undefined;
  readonly #endThink: number | undefined;
  readonly #calls: ToolCallReader | undefined;
  #text: Detokenizer;
  #mode: "reasoning" | "content" | "calls";
  #reasoningTokens = 0;

  constructor(vocabulary: Vocabulary, { startsInReasoning: reasoning, toolCalls }: OutputOptions) {
    this.#vocabulary = vocabulary;
    this.#think = vocabulary.specialId("<think>");
    this.#endThink = vocabulary.specialId("</think>");
    this.#calls = toolCalls && new ToolCallReader(vocabulary, toolCalls);
    this.#text = new Detokenizer(vocabulary);
    this.#mode = reasoning && this.#endThink !== undefined ? "reasoning" : "content";
  }

  /** Whether a token marks a part and is not itself said. */
  isMarker(token: number): boolean {
    return this.#vocabulary.isSpecial(token);
  }

  /** Tokens of thought so far, without the tags. */
  get reasoningTokens(): number {
    return this.#reasoningTokens;
  }

  push(token: number): OutputDelta[] {
    if (!this.#vocabulary.isSpecial(token)) {
      if (this.#mode === "reasoning") this.#reasoningTokens++;
      return this.#say(this.#text.push(token));
    }
    const mode = this.#modeAfter(token);
    if (mode === this.#mode && mode !== "calls") return [];
    const deltas = this.#say(this.#text.end());
    if (this.#mode === "calls" || mode === "calls")
      deltas.push(...(this.#calls?.mark(token) ?? []));
    this.#mode = mode;
    return deltas;
  }

  /** What was held back. */
  end(): OutputDelta[] {
    return [...this.#say(this.#text.end()), ...(this.#calls?.end() ?? [])];
  }

  /** Tags inside a call are the model's confusion, and mean nothing. */
  #modeAfter(token: number): "reasoning" | "content" | "calls" {
    if (this.#calls?.opens(token)) return "calls";
    if (this.#mode === "calls") return this.#calls?.closes(token) ? "content" : "calls";
    if (token === this.#think) return "reasoning";
    return token === this.#endThink ? "content" : this.#mode;
  }

  #say(text: string): OutputDelta[] {
    if (text === "") return [];
    if (this.#mode === "calls") return this.#calls?.read(text) ?? [];
    return [{ kind: this.#mode, text }];
  }
}
