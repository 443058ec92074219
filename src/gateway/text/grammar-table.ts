import { type Place, UNKNOWN, type Vocabulary } from "../../model/index.ts";

/** Of 1 KiB each. */
const MOST_STATES = 16_384;

/** What has been heard of a grammar: masks by their numbers, and where bytes and markers lead. */
export class GrammarTable {
  readonly id: number;
  readonly #vocabulary: Vocabulary;
  readonly #masks = new Map<number, Uint32Array>();
  /** By state. */
  readonly #numbers = new Map<number, number>();
  readonly #steps = new Map<number, Int32Array>();
  /** Where tokens lead that are no text, by state. */
  readonly #marked = new Map<number, Map<number, number>>();

  constructor(id: number, vocabulary: Vocabulary) {
    this.id = id;
    this.#vocabulary = vocabulary;
  }

  addMask(number: number, mask: Uint32Array): void {
    this.#masks.set(number, mask);
  }

  mask({ mask }: Place): Uint32Array {
    return this.#masks.get(mask) as Uint32Array;
  }

  /** Undefined where it has not been heard. */
  after(state: number, token: number): Place | undefined {
    const next = this.#vocabulary.isSpecial(token)
      ? (this.#marked.get(state)?.get(token) ?? UNKNOWN)
      : this.#vocabulary
          .tokenBytes(token)
          .reduce((at, byte) => this.#steps.get(at)?.[byte] ?? UNKNOWN, state);
    const mask = this.#numbers.get(next);
    return mask === undefined ? undefined : { state: next, mask };
  }

  learn(
    state: number,
    token: number,
    place: Place,
    steps: readonly (readonly [state: number, steps: Int32Array])[],
  ): void {
    if (this.#steps.size > MOST_STATES) this.#steps.clear();
    for (const [from, row] of steps) this.#steps.set(from, row);
    if (steps.length === 0) {
      const marked = this.#marked.get(state) ?? new Map<number, number>();
      this.#marked.set(state, marked.set(token, place.state));
    }
    this.#numbers.set(place.state, place.mask);
  }
}
