/**
 * Which tokens of a vocabulary may come next in a state of a machine: a bit for each, in words of 32.
 * Tokens are walked in the order of their bytes, so that what two have in common is walked once.
 */
import type { Vocabulary } from "../text/index.ts";
import { DEAD, type Machine } from "./machine.ts";

/** The tokens of a vocabulary that are text, sorted by their bytes. */
export class TokenOrder {
  readonly vocabulary: Vocabulary;
  /** Tokens that end an answer. */
  readonly endTokens: readonly number[];
  readonly #tokens: Int32Array;
  /** Bytes that a token shares with the one before it. */
  readonly #shared: Uint16Array;

  constructor(vocabulary: Vocabulary, endTokens: readonly number[]) {
    this.vocabulary = vocabulary;
    this.endTokens = endTokens;
    const bytes = (token: number) => vocabulary.tokenBytes(token);
    const tokens = Array.from({ length: vocabulary.vocabSize }, (_, token) => token);
    const texts = tokens.filter((token) => !vocabulary.isSpecial(token) && bytes(token).length > 0);
    texts.sort((a, b) => Buffer.compare(bytes(a), bytes(b)));
    this.#tokens = Int32Array.from(texts);
    this.#shared = Uint16Array.from(texts, (token, i) =>
      i === 0 ? 0 : sharedLength(bytes(token), bytes(texts[i - 1])),
    );
  }

  emptyMask(): Uint32Array {
    return new Uint32Array(Math.ceil(this.vocabulary.vocabSize / 32));
  }

  /** Every token but those that end an answer. */
  unfinishedMask(): Uint32Array {
    const mask = this.emptyMask();
    for (let token = 0; token < this.vocabulary.vocabSize; token++) allow(mask, token);
    for (const token of this.endTokens) mask[token >> 5] &= ~(1 << (token & 31));
    return mask;
  }

  maskAt(machine: Machine, state: number): Uint32Array {
    const mask = this.emptyMask();
    this.#allowTexts(mask, machine, state);
    for (const token of machine.tokensAt(state)) allow(mask, token);
    if (machine.mayEnd(state)) for (const token of this.endTokens) allow(mask, token);
    return mask;
  }

  #allowTexts(mask: Uint32Array, machine: Machine, state: number): void {
    const { bytes, offsets } = this.vocabulary.tables;
    // States after each of a token's bytes, as far as there is one.
    const path = [state];
    let walked = 0;
    for (const [i, token] of this.#tokens.entries()) {
      const shared = this.#shared[i];
      // The token before has died on bytes that this one has too.
      if (shared > walked) continue;
      const begin = offsets[token];
      const length = offsets[token + 1] - begin;
      walked = shared;
      for (; walked < length; walked++) {
        const next = machine.step(path[walked], bytes[begin + walked]);
        if (next === DEAD) break;
        path[walked + 1] = next;
      }
      if (walked === length) allow(mask, token);
    }
  }
}

function allow(mask: Uint32Array, token: number): void {
  mask[token >> 5] |= 1 << (token & 31);
}

function sharedLength(a: Uint8Array, b: Uint8Array): number {
  let length = 0;
  while (length < a.length && length < b.length && a[length] === b[length]) length++;
  return length;
}
