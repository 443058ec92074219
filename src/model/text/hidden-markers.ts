import { type Value } from "./jinja-values.ts";
import type { Segment, Tokenizer } from "./tokenizer.ts";

/** Stands for the text of this number, in characters of Unicode's private use. */
const standIn = (number: number) => `\uE0FE${number}\uE0FF`;
const STAND_INS = /\uE0FE(\d+)\uE0FF/g;

/** Markers found in a conversation's words, while a template lays them out: they come back as plain text. */
export class HiddenMarkers {
  readonly #tokenizer: Tokenizer;
  readonly #texts: string[] = [];

  constructor(tokenizer: Tokenizer) {
    this.#tokenizer = tokenizer;
  }

  /** The same value, its texts free of markers. */
  hide(value: Value): Value {
    if (typeof value === "string") return this.hideIn(value);
    if (Array.isArray(value)) return value.map((child) => this.hide(child));
    if (!(value instanceof Map)) return value;
    return new Map([...value].map(([key, child]) => [this.hideIn(key), this.hide(child)]));
  }

  /** `keepThinkTags`: templates look for thoughts in answers by their tags, so an answer keeps those. */
  hideIn(text: string, keepThinkTags = false): string {
    return this.#tokenizer
      .split(text)
      .map((segment) => {
        const isTag = segment.text === "<think>" || segment.text === "</think>";
        if (!segment.special || (keepThinkTags && isTag)) return segment.text;
        return this.hidden(segment.text);
      })
      .join("");
  }

  /** Something that no template changes, and comes back as this text. */
  hidden(text: string): string {
    return standIn(this.#texts.push(text) - 1);
  }

  /** A rendered prompt's markers and words. */
  segments(rendered: string): Segment[] {
    return this.#tokenizer
      .split(rendered)
      .map((segment) =>
        segment.special ? segment : { ...segment, text: this.#restore(segment.text) },
      );
  }

  #restore(text: string): string {
    return text.replaceAll(
      STAND_INS,
      (whole, number: string) => this.#texts[Number(number)] ?? whole,
    );
  }
}
