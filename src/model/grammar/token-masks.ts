/**
 * Which tokens of a vocabulary may come next in a state of a machine: a bit for each, in words of 32.
 * Tokens are walked in the order of their bytes, so that what two have in common is walked once.
 */
import type { Vocabulary } from "../text/index.ts";
import { DEAD, type Machine } from "./machine.ts";

/** Few tokens are longer: what counts further on than that changes the masks of those alone. */
const SHORT_BYTES = 12;

/** The tokens of a vocabulary that are text, sorted by their bytes. */
export class TokenOrder {
  readonly vocabulary: Vocabulary;
  /** Tokens that end an answer. */
  readonly endTokens: readonly number[];
  readonly #short: SortedTokens;
  readonly #long: SortedTokens;

  constructor(vocabulary: Vocabulary, endTokens: readonly number[]) {
    this.vocabulary = vocabulary;
    this.endTokens = endTokens;
    const length = (token: number) => vocabulary.tokenBytes(token).length;
    const texts = Array.from({ length: vocabulary.vocabSize }, (_, token) => token).filter(
      (token) => !vocabulary.isSpecial(token) && length(token) > 0,
    );
    this.#short = new SortedTokens(
      vocabulary,
      texts.filter((token) => length(token) <= SHORT_BYTES),
    );
    this.#long = new SortedTokens(
      vocabulary,
      texts.filter((token) => length(token) > SHORT_BYTES),
    );
  }

  /** Added tokens that are no end: markers. */
  get specials(): (readonly [text: string, token: number])[] {
    return this.vocabulary.tables.specials.filter(([, token]) => !this.endTokens.includes(token));
  }

  /** Masks of a machine's states; states whose tokens are known to be the same have one. */
  masksOf(machine: Machine): (state: number) => Uint32Array {
    const short = remembering((state) => this.#shortMask(machine, state));
    const whole = remembering((state) => {
      const mask = short(machine.within(state, SHORT_BYTES)).slice();
      this.#long.allow(mask, machine, state);
      return mask;
    });
    return (state) => whole(machine.within(state, this.vocabulary.longestToken));
  }

  #shortMask(machine: Machine, state: number): Uint32Array {
    const mask = emptyMask(this.vocabulary);
    this.#short.allow(mask, machine, state);
    for (const token of machine.tokensAt(state)) allow(mask, token);
    if (machine.mayEnd(state)) for (const token of this.endTokens) allow(mask, token);
    return mask;
  }
}

/** Every token but some. */
export function maskWithout(vocabulary: Vocabulary, barred: readonly number[]): Uint32Array {
  const mask = emptyMask(vocabulary);
  for (let token = 0; token < vocabulary.vocabSize; token++) allow(mask, token);
  for (const token of barred) mask[token >> 5] &= ~(1 << (token & 31));
  return mask;
}

export function allow(mask: Uint32Array, token: number): void {
  mask[token >> 5] |= 1 << (token & 31);
}

const emptyMask = ({ vocabSize }: Vocabulary) => new Uint32Array(Math.ceil(vocabSize / 32));

class SortedTokens {
  readonly #vocabulary: Vocabulary;
  readonly #tokens: Int32Array;
  /** Bytes that a token shares with the one before it. */
  readonly #shared: Uint16Array;

  constructor(vocabulary: Vocabulary, texts: number[]) {
    const bytes = (token: number) => vocabulary.tokenBytes(token);
    texts.sort((a, b) => Buffer.compare(bytes(a), bytes(b)));
    this.#vocabulary = vocabulary;
    this.#tokens = Int32Array.from(texts);
    this.#shared = Uint16Array.from(texts, (token, i) =>
      i === 0 ? 0 : sharedLength(bytes(token), bytes(texts[i - 1])),
    );
  }

  /** Sets the bits of those that may come. */
  allow(mask: Uint32Array, machine: Machine, state: number): void {
    const { bytes, offsets } = this.#vocabulary.tables;
    const tokens = this.#tokens;
    // States after each of a token's bytes, as far as there is one.
    const path = [state];
    let walked = 0;
    for (let i = 0; i < tokens.length; i++) {
      const shared = this.#shared[i];
      // The token before has died on bytes that this one has too.
      if (shared > walked) continue;
      const token = tokens[i];
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

function remembering(make: (state: number) => Uint32Array): (state: number) => Uint32Array {
  const known = new Map<number, Uint32Array>();
  return (state) => {
    const mask = known.get(state) ?? make(state);
    known.set(state, mask);
    return mask;
  };
}

function sharedLength(a: Uint8Array, b: Uint8Array): number {
  let length = 0;
  while (length < a.length && length < b.length && a[length] === b[length]) length++;
  return length;
}
