import type { Vocabulary } from "./vocabulary.ts";

/**
 * Tokens to text as they come. A character whose bytes are spread over tokens is held back until it is whole; bytes
 * that are no UTF-8 become U+FFFD exactly as if all bytes had been decoded at once.
 */
export class Detokenizer {
  readonly #vocabulary: Vocabulary;
  readonly #decoder = new TextDecoder("utf-8", { ignoreBOM: true });

  constructor(vocabulary: Vocabulary) {
    this.#vocabulary = vocabulary;
  }

  /** The text this token completes, possibly none. Added tokens are written out. */
  push(token: number): string {
    return this.#decoder.decode(this.#vocabulary.tokenBytes(token), { stream: true });
  }

  /** What an unfinished character comes to; the next push begins anew. */
  end(): string {
    return this.#decoder.decode();
  }
}
