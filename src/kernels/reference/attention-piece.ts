import type { Round } from "./product.ts";
import { exponential32 } from "../elementary.ts";
import { float32 } from "../float-formats.ts";
import { LANES, sumOfLanes } from "../lanes.ts";
import type { RowFormat, StoredRows } from "../operand-format.ts";
import { loadRows } from "../quantize.ts";
import { KV_PIECE_TOKENS, type MlaShape } from "../stream.ts";

/** c + a · b */
type Step = (c: number, a: number, b: number) => number;

/**
 * How attention's products step over an output's terms, of values in a format. BF16 values are
 * multiplied in pairs of which the odd one comes first, and product and sum are rounded together,
 * which is exact in float64; float32 values one by one, each product and each sum rounded.
 */
const steps: Readonly<Record<RowFormat, { readonly step: Step; readonly inPairs: boolean }>> = {
  bf16: { step: (c, a, b) => float32(a * b + c), inPairs: true },
  f32: { step: (c, a, b) => float32(c + float32(a * b)), inPairs: false },
};

/** Attention of one query head over one piece of the context. */
export class PieceAttention {
  readonly #shape: MlaShape;
  readonly #round: Round;
  readonly #step: Step;
  readonly #inPairs: boolean;
  /** [KV_PIECE_TOKENS, latent + rope] */
  readonly #entries: Float64Array;
  readonly #query: Float64Array;
  /** The query's values in the order in which a score adds their products. */
  readonly #order: Int32Array;
  readonly #scores = new Float32Array(KV_PIECE_TOKENS);
  readonly #lanes = new Float32Array(LANES);
  readonly #latentSum: Float32Array;
  #maximum = 0;
  #sum = 0;

  constructor(shape: MlaShape, kv: RowFormat, round: Round) {
    const width = shape.latent + shape.rope;
    this.#shape = shape;
    this.#round = round;
    this.#step = steps[kv].step;
    this.#inPairs = steps[kv].inPairs;
    this.#entries = new Float64Array(KV_PIECE_TOKENS * width);
    this.#query = new Float64Array(width);
    this.#order = Int32Array.from({ length: width }, (_, i) => this.#placeOf(i, width));
    this.#latentSum = new Float32Array(shape.latent);
  }

  /** Takes the piece's entry of a token. */
  load(token: number, entry: StoredRows): void {
    const at = token * entry.length;
    loadRows(this.#entries, at, entry, 0, entry.length);
    for (let i = at; i < at + entry.length; i++) this.#entries[i] = float32(this.#entries[i]);
  }

  /** Scores the piece's first `visible` entries; probabilities are relative to its own maximum. */
  attend(absorbed: Float32Array, q: Float32Array, rowHead: number, visible: number): void {
    this.#loadQuery(absorbed, q, rowHead);
    const scores = this.#scores;
    for (let t = 0; t < visible; t += 4) this.#scoreFour(t, visible - 1);
    this.#maximum = scores.subarray(0, visible).reduce((most, x) => Math.max(most, x), -Infinity);
    const lanes = this.#lanes.fill(0);
    for (let t = 0; t < visible; t++) {
      scores[t] = exponential32(float32(scores[t] - this.#maximum));
      lanes[t % LANES] = float32(lanes[t % LANES] + scores[t]);
      scores[t] = this.#round(scores[t]);
    }
    this.#sum = sumOfLanes(lanes);
    this.#latentSum.fill(0);
    for (let i = 0; i < visible; i++) this.#addLatent(this.#placeOf(i, visible));
  }

  /** Folds the piece into what earlier pieces gave; merge holds their maximum and sum. */
  mergeInto(out: Float32Array, at: number, merge: Float32Array, first: boolean): void {
    const { latent } = this.#shape;
    const maximum = first ? this.#maximum : Math.max(merge[0], this.#maximum);
    const earlier = first ? 0 : exponential32(float32(merge[0] - maximum));
    const own = exponential32(float32(this.#maximum - maximum));
    merge[0] = maximum;
    merge[1] = float32(float32(merge[1] * earlier) + float32(this.#sum * own));
    for (let c = 0; c < latent; c++) {
      const before = first ? 0 : float32(out[at + c] * earlier);
      // Adding zero leaves +0 of a sum that is zero, whatever terms of zero a kernel adds.
      out[at + c] = float32(before + float32((this.#latentSum[c] + 0) * own));
    }
  }

  /** Which of n terms comes i-th. */
  #placeOf(i: number, n: number): number {
    return this.#inPairs && (i ^ 1) < n ? i ^ 1 : i;
  }

  #loadQuery(absorbed: Float32Array, q: Float32Array, rowHead: number): void {
    const { latent, nope, rope } = this.#shape;
    const value = (x: number) => float32(this.#round(x));
    for (let c = 0; c < latent; c++) this.#query[c] = value(absorbed[rowHead * latent + c]);
    const rotated = rowHead * (nope + rope) + nope;
    for (let c = 0; c < rope; c++) this.#query[latent + c] = value(q[rotated + c]);
  }

  /** Scores four tokens from t on, so that no sum waits for its own last; up to `last` they count. */
  #scoreFour(t: number, last: number): void {
    const step = this.#step;
    const query = this.#query;
    const entries = this.#entries;
    const width = query.length;
    const at0 = t * width;
    const at1 = Math.min(t + 1, last) * width;
    const at2 = Math.min(t + 2, last) * width;
    const at3 = Math.min(t + 3, last) * width;
    let sum0 = 0;
    let sum1 = 0;
    let sum2 = 0;
    let sum3 = 0;
    for (const c of this.#order) {
      sum0 = step(sum0, query[c], entries[at0 + c]);
      sum1 = step(sum1, query[c], entries[at1 + c]);
      sum2 = step(sum2, query[c], entries[at2 + c]);
      sum3 = step(sum3, query[c], entries[at3 + c]);
    }
    const scale = Math.fround(this.#shape.scale);
    [sum0, sum1, sum2, sum3].slice(0, last + 1 - t).forEach((sum, i) => {
      const score = float32(sum * scale);
      // An entry that is not finite spoils whoever sees it, even with a probability of zero.
      this.#scores[t + i] = Number.isFinite(score) ? score : NaN;
    });
  }

  #addLatent(t: number): void {
    const step = this.#step;
    const sums = this.#latentSum;
    const probability = this.#scores[t];
    const at = t * this.#query.length;
    for (let c = 0; c < sums.length; c++) {
      sums[c] = step(sums[c], probability, this.#entries[at + c]);
    }
  }
}
