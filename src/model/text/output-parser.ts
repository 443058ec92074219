/**
 * What a model says, told apart as it comes: thoughts between `<think>` and `</think>`, tool calls, and the rest,
 * which is the answer. Only a marker that begins or ends something is not said, and the white space next to the tags
 * of thoughts; any other is text like the words around it.
 */
import type { ChatTool } from "./chat-message.ts";
import { Detokenizer } from "./detokenizer.ts";
import type { OutputDelta } from "./output-delta.ts";
import { ToolCallReader } from "./tool-call-reader.ts";
import type { ToolCallFormat } from "./tool-call-formats.ts";
import type { Vocabulary } from "./vocabulary.ts";

export interface OutputOptions {
  /** The prompt ended inside `<think>`. */
  readonly startsInReasoning: boolean;
  /** Whether the answer may begin with `<think>`; true by default. */
  readonly mayThink?: boolean;
  /** Undefined leaves calls in the content. */
  readonly toolCalls: ToolCallFormat | undefined;
  /** The functions that may be called: their schemas tell texts from numbers where a format does not. */
  readonly tools?: readonly ChatTool[];
  /** Calls of the conversation so far, for models that number them. */
  readonly callsBefore?: number;
}

/** Whether the prompt leaves thoughts open, so that the model goes on with them, or has closed them. */
export function thinkingAfter(
  vocabulary: Vocabulary,
  prompt: Uint32Array,
): Required<Pick<OutputOptions, "startsInReasoning" | "mayThink">> {
  const last = prompt.findLast((token) => vocabulary.isSpecial(token));
  const is = (tag: string) => last !== undefined && last === vocabulary.specialId(tag);
  return { startsInReasoning: is("<think>"), mayThink: !is("</think>") };
}

export class OutputParser {
  readonly #vocabulary: Vocabulary;
  readonly #calls: ToolCallReader | undefined;
  readonly #text: Detokenizer;
  #mode: "reasoning" | "content";
  #mayThink: boolean;
  /** White space that has not been told: at the beginning of either, and at the end of thoughts. */
  #space = "";
  /** Something of the current mode has been told. */
  #begun = false;
  /** A tag is next to what comes. */
  #afterTag: boolean;
  /** Part of a character has been pushed. */
  #partial = false;
  #reasoningTokens = 0;

  constructor(vocabulary: Vocabulary, options: OutputOptions) {
    const { startsInReasoning, mayThink = true, toolCalls, tools = [], callsBefore = 0 } = options;
    const inReasoning = startsInReasoning && vocabulary.specialId("</think>") !== undefined;
    this.#vocabulary = vocabulary;
    this.#calls = toolCalls && new ToolCallReader(vocabulary, toolCalls, { tools, callsBefore });
    this.#text = new Detokenizer(vocabulary);
    this.#mode = inReasoning ? "reasoning" : "content";
    this.#afterTag = inReasoning;
    this.#mayThink = mayThink && !inReasoning;
  }

  /** What was pushed and not told may still be. */
  get undecided(): boolean {
    return this.#partial || this.#space !== "" || (this.#calls?.undecided ?? false);
  }

  /** Tokens of thought so far, without the tags. */
  get reasoningTokens(): number {
    return this.#reasoningTokens;
  }

  push(token: number): OutputDelta[] {
    if (!this.#vocabulary.isSpecial(token)) {
      if (this.#mode === "reasoning") this.#reasoningTokens++;
      const text = this.#text.push(token);
      this.#partial = text === "";
      return this.#read(text);
    }
    this.#partial = false;
    const deltas = this.#read(this.#text.end());
    const marker = this.#vocabulary.decode([token]);
    if (this.#turnsAt(marker)) return [...deltas, ...this.#turn()];
    if (this.#mode === "reasoning") this.#reasoningTokens++;
    return [...deltas, ...this.#tell(this.#calls?.readToken(marker) ?? plain(marker))];
  }

  /** What was held back. */
  end(): OutputDelta[] {
    const deltas = [...this.#read(this.#text.end()), ...this.#tell(this.#calls?.end() ?? [])];
    const space = this.#afterTag && !this.#begun ? "" : this.#space;
    this.#space = "";
    return space === "" ? deltas : [...deltas, { kind: this.#mode, text: space }];
  }

  /** Thoughts begin only where nothing has been said, and end once. */
  #turnsAt(marker: string): boolean {
    if (marker === "</think>") return this.#mode === "reasoning" && !this.#calls?.inCall;
    return marker === "<think>" && this.#mayThink && !this.#begun && !this.#calls?.undecided;
  }

  #turn(): OutputDelta[] {
    const deltas = this.#tell(this.#calls?.end() ?? []);
    this.#mode = this.#mode === "reasoning" ? "content" : "reasoning";
    this.#mayThink = false;
    this.#space = "";
    this.#begun = false;
    this.#afterTag = true;
    return deltas;
  }

  #read(text: string): OutputDelta[] {
    if (text === "") return [];
    return this.#tell(this.#calls?.read(text) ?? plain(text));
  }

  #tell(said: readonly Said[]): OutputDelta[] {
    return said.flatMap((each) => {
      if (each.kind === "text") return this.#say(each.text);
      if (each.kind === "tool-call") {
        this.#begun = true;
        this.#space = "";
      }
      return [each];
    });
  }

  #say(text: string): OutputDelta[] {
    const whole = this.#space + text;
    const words = this.#mode === "reasoning" ? whole.trimEnd() : whole;
    const told = this.#begun || !this.#afterTag ? words : words.trimStart();
    if (told.trim() === "" && !(this.#begun && this.#mode === "content")) {
      this.#space = whole;
      return [];
    }
    this.#space = whole.slice(words.length);
    this.#begun = true;
    return [{ kind: this.#mode, text: told }];
  }
}

type Said = { readonly kind: "text"; readonly text: string } | OutputDelta;

const plain = (text: string): Said[] => [{ kind: "text", text }];
