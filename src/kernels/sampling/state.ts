import { COUNT_WIDTH, type LogitAdjustments, type TokenMask } from "../stream.ts";
import type { SamplingParameters } from "./parameters.ts";

/** Knuth's multiplier, the golden ratio of 2^32. */
const HASH = 0x9e3779b1;

const nothing = new Int32Array(0);

/** Far below any logit that a bias of 100 may have raised. */
const NEVER = -1e9;

/** Changes to logits that no token before changes. */
type Biases = Pick<LogitAdjustments, "biasTokens" | "biases">;

const biasesOf = (logitBias: Readonly<Record<number, number>>): Biases => ({
  biasTokens: Int32Array.from(Object.keys(logitBias), Number),
  biases: Float64Array.from(Object.values(logitBias)),
});

/**
 * What a sequence's penalties and biases are made of: distinct tokens and how often each was
 * generated, brought along token by token, and the biases. A step reads it as it is; tokens beyond
 * it, which may yet be taken back, are counted aside.
 */
export class SamplingState {
  readonly #promptLength: number;
  readonly #countsPrompt: boolean;
  readonly #countsGenerated: boolean;
  readonly #biases: Biases;
  /** The same before `#barredBefore` tokens are generated. */
  readonly #barringBiases: Biases;
  readonly #barredBefore: number;
  #length = 0;
  #distinct = 0;
  /** [.., 2]: a token, and how often it was generated; in the order in which they first came. */
  #counted = new Int32Array(64 * COUNT_WIDTH);
  /** A hash table of one more than a token's place in `#counted`; 0 where it is free. */
  #places = new Int32Array(128);

  constructor(parameters: SamplingParameters, promptLength: number) {
    const { presencePenalty, frequencyPenalty, repetitionPenalty, logitBias, barred } = parameters;
    this.#promptLength = promptLength;
    this.#countsPrompt = repetitionPenalty !== 1;
    this.#countsGenerated = this.#countsPrompt || presencePenalty !== 0 || frequencyPenalty !== 0;
    this.#biases = biasesOf(logitBias);
    const never = Object.fromEntries((barred?.tokens ?? []).map((token) => [token, NEVER]));
    this.#barringBiases = barred ? biasesOf({ ...logitBias, ...never }) : this.#biases;
    this.#barredBefore = barred?.before ?? 0;
  }

  /** Tokens it has counted, prompt and generated. */
  get length(): number {
    return this.#length;
  }

  append(token: number): void {
    const generated = this.#length >= this.#promptLength;
    this.#length++;
    if (!(generated ? this.#countsGenerated : this.#countsPrompt)) return;
    let slot = this.#slotOf(token);
    if (this.#places[slot] === 0) {
      if (2 * this.#distinct >= this.#places.length) slot = this.#grow(token);
      this.#counted[this.#distinct * COUNT_WIDTH] = token;
      this.#places[slot] = ++this.#distinct;
    }
    if (generated) this.#counted[(this.#places[slot] - 1) * COUNT_WIDTH + 1]++;
  }

  /**
   * What changes the logits after `tokens`, which begin with those it has counted. It may not be
   * appended to before a step that reads it has run.
   */
  adjustmentsAfter(tokens: ArrayLike<number>, allowed?: TokenMask): LogitAdjustments | undefined {
    const generated = tokens.length - this.#promptLength;
    const own = generated < this.#barredBefore ? this.#barringBiases : this.#biases;
    if (!this.#countsGenerated && own.biases.length === 0 && !allowed) return undefined;
    return {
      counted: this.#counted,
      distinct: this.#distinct,
      proposed: this.#countsGenerated ? this.#countBeyond(tokens) : nothing,
      ...own,
      allowed,
    };
  }

  /** Counts of the tokens that come after those it has counted. [.., 2] */
  #countBeyond(tokens: ArrayLike<number>): Int32Array {
    if (tokens.length === this.#length) return nothing;
    const counts = new Map<number, number>();
    for (let i = this.#length; i < tokens.length; i++) {
      const token = tokens[i];
      const before = counts.get(token) ?? this.#countOf(token);
      counts.set(token, i < this.#promptLength ? before : before + 1);
    }
    return Int32Array.from([...counts].flat());
  }

  #countOf(token: number): number {
    const place = this.#places[this.#slotOf(token)];
    return place === 0 ? 0 : this.#counted[(place - 1) * COUNT_WIDTH + 1];
  }

  /** Where the hash table has a token, or would have it. */
  #slotOf(token: number): number {
    const mask = this.#places.length - 1;
    let slot = (Math.imul(token, HASH) >>> 7) & mask;
    for (let place; (place = this.#places[slot]) !== 0; slot = (slot + 1) & mask) {
      if (this.#counted[(place - 1) * COUNT_WIDTH] === token) break;
    }
    return slot;
  }

  /** Twice the room; where a token that is not there would be. */
  #grow(token: number): number {
    const counted = new Int32Array(2 * this.#counted.length);
    counted.set(this.#counted);
    this.#counted = counted;
    this.#places = new Int32Array(2 * this.#places.length);
    for (let place = 1; place <= this.#distinct; place++) {
      this.#places[this.#slotOf(counted[(place - 1) * COUNT_WIDTH])] = place;
    }
    return this.#slotOf(token);
  }
}
