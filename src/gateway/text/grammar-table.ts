import type { TokenMask } from "../../kernels/index.ts";
import { type Place, UNKNOWN, type Vocabulary } from "../../model/index.ts";

/** Of 1 KiB each. */
const MOST_STATES = 16_384;

/** What has been heard of a grammar: masks by their numbers, and where bytes and markers lead. */
export class GrammarTable {
  readonly id: number;
  readonly #vocabulary: Vocabulary;
  readonly #masks: TokenMask[] = [];
  /** By state; states are numbered from 0. */
  readonly #places: (Place | undefined)[] = [];
  #steps: (Int32Array | undefined)[] = [];
  #stepped = 0;
  /** Where tokens lead that are no text, by state. */
  readonly #marked = new Map<number, Map<number, number>>();

  constructor(id: number, vocabulary: Vocabulary) {
    this.id = id;
    this.#vocabulary = vocabulary;
  }

  addMask(number: number, mask: TokenMask): void {
    this.#masks[number] = mask;
  }

  mask({ mask }: Place): TokenMask {
    return this.#masks[mask];
  }

  /** Undefined where it has not been heard. */
  after(state: number, token: number): Place | undefined {
    if (this.#vocabulary.isSpecial(token)) {
      return this.#places[this.#marked.get(state)?.get(token) ?? UNKNOWN];
    }
    const { bytes, offsets } = this.#vocabulary.tables;
    let at = state;
    for (let i = offsets[token]; i < offsets[token + 1]; i++) {
      at = this.#steps[at]?.[bytes[i]] ?? UNKNOWN;
    }
    return this.#places[at];
  }

  learn(
    state: number,
    token: number,
    place: Place,
    steps: readonly (readonly [state: number, steps: Int32Array])[],
  ): void {
    if (this.#stepped > MOST_STATES) {
      this.#steps = [];
      this.#stepped = 0;
    }
    for (const [from, row] of steps) {
      if (!this.#steps[from]) this.#stepped++;
      this.#steps[from] = row;
    }
    if (steps.length === 0) {
      const marked = this.#marked.get(state) ?? new Map<number, number>();
      this.#marked.set(state, marked.set(token, place.state));
    }
    this.#places[place.state] = place;
  }
}
