import { exponential } from "../elementary.ts";
import { entryOf } from "./kv.ts";
import { loadRows } from "../quantize.ts";
import { KV_PIECE_TOKENS, type KvLayer, type MlaShape, type StepLayout } from "../stream.ts";

/** How a policy rounds a matmul's input value. */
export type Round = (x: number) => number;

/**
 * Absorbed multi-head latent attention, causal, over paged KV (FlashMLA's role): every row of
 * every head reads the same latent entries. The context is cut into pieces at fixed absolute
 * positions and the pieces are merged in order, so a row's bits depend on its context alone, not on
 * the chunk it arrived in. Only entries a row may see are read.
 */
export function attention(
  out: Float32Array,
  absorbed: Float32Array,
  q: Float32Array,
  cache: KvLayer,
  shape: MlaShape,
  layout: StepLayout,
  round: Round,
): void {
  const { heads, latent } = shape;
  const width = latent + shape.rope;
  const piece = new PieceAttention(shape, round);
  for (let s = 0; s + 1 < layout.rowStarts.length; s++) {
    const firstRow = layout.rowStarts[s];
    const lastRow = layout.rowStarts[s + 1] - 1;
    if (lastRow < firstRow) continue;
    const merges = new Float32Array((lastRow - firstRow + 1) * heads * 2);
    const context = Math.max(...layout.positions.subarray(firstRow, lastRow + 1)) + 1;
    for (let start = 0; start < context; start += KV_PIECE_TOKENS) {
      const end = Math.min(start + KV_PIECE_TOKENS, context);
      for (let t = start; t < end; t++) {
        const at = entryOf(layout, s * layout.tableStride, t) * width;
        loadRows(piece.entries, (t - start) * width, cache.entries, at, width);
      }
      for (let row = firstRow; row <= lastRow; row++) {
        const visible = Math.min(end, layout.positions[row] + 1) - start;
        if (visible <= 0) continue;
        for (let head = 0; head < heads; head++) {
          piece.attend(absorbed, q, row * heads + head, visible);
          const merge = merges.subarray(((row - firstRow) * heads + head) * 2);
          piece.mergeInto(out, (row * heads + head) * latent, merge, start === 0);
        }
      }
    }
    for (let i = 0; i < merges.length / 2; i++) {
      const sum = merges[2 * i + 1];
      const at = (firstRow * heads + i) * latent;
      for (let c = 0; c < latent; c++) out[at + c] /= sum;
    }
  }
}

/** Σ x[c] · y[at + c], in four sums, so that no addition waits for the one before. */
function dot(x: Float64Array, y: Float64Array, at: number, length: number): number {
  let sum0 = 0;
  let sum1 = 0;
  let sum2 = 0;
  let sum3 = 0;
  let c = 0;
  for (; c + 3 < length; c += 4) {
    sum0 += x[c] * y[at + c];
    sum1 += x[c + 1] * y[at + c + 1];
    sum2 += x[c + 2] * y[at + c + 2];
    sum3 += x[c + 3] * y[at + c + 3];
  }
  for (; c < length; c++) sum0 += x[c] * y[at + c];
  return sum0 + sum1 + (sum2 + sum3);
}

/** Attention of one query head over one piece of the context. */
class PieceAttention {
  readonly #shape: MlaShape;
  readonly #round: Round;
  /** [KV_PIECE_TOKENS, latent + rope] */
  readonly entries: Float64Array;
  readonly #query: Float64Array;
  readonly #scores = new Float32Array(KV_PIECE_TOKENS);
  readonly #latentSum: Float64Array;
  #maximum = 0;
  #sum = 0;

  constructor(shape: MlaShape, round: Round) {
    const width = shape.latent + shape.rope;
    this.#shape = shape;
    this.#round = round;
    this.entries = new Float64Array(KV_PIECE_TOKENS * width);
    this.#query = new Float64Array(width);
    this.#latentSum = new Float64Array(shape.latent);
  }

  /** Scores the piece's first `visible` entries; probabilities are relative to its own maximum. */
  attend(absorbed: Float32Array, q: Float32Array, rowHead: number, visible: number): void {
    const { latent, scale } = this.#shape;
    const query = this.#query;
    const entries = this.entries;
    const scores = this.#scores;
    const width = query.length;
    this.#loadQuery(absorbed, q, rowHead);
    let maximum = -Infinity;
    for (let t = 0; t < visible; t++) {
      scores[t] = Math.fround(dot(query, entries, t * width, width)) * scale;
      maximum = Math.max(maximum, scores[t]);
    }
    let sum = 0;
    const latentSum = this.#latentSum;
    latentSum.fill(0);
    for (let t = 0; t < visible; t++) {
      const probability = Math.fround(exponential(scores[t] - maximum));
      sum += probability;
      const rounded = this.#round(probability);
      const at = t * width;
      for (let c = 0; c < latent; c++) latentSum[c] += rounded * entries[at + c];
    }
    this.#maximum = maximum;
    this.#sum = Math.fround(sum);
  }

  /** Folds the piece into what earlier pieces gave; merge holds their maximum and sum. */
  mergeInto(out: Float32Array, at: number, merge: Float32Array, first: boolean): void {
    const { latent } = this.#shape;
    const maximum = first ? this.#maximum : Math.max(merge[0], this.#maximum);
    const earlier = first ? 0 : Math.fround(exponential(merge[0] - maximum));
    const own = Math.fround(exponential(this.#maximum - maximum));
    merge[0] = maximum;
    merge[1] = Math.fround(merge[1] * earlier) + Math.fround(this.#sum * own);
    for (let c = 0; c < latent; c++) {
      const before = first ? 0 : Math.fround(out[at + c] * earlier);
      out[at + c] = before + Math.fround(Math.fround(this.#latentSum[c]) * own);
    }
  }

  #loadQuery(absorbed: Float32Array, q: Float32Array, rowHead: number): void {
    const { latent, nope, rope } = this.#shape;
    for (let c = 0; c < latent; c++) this.#query[c] = this.#round(absorbed[rowHead * latent + c]);
    const rotated = rowHead * (nope + rope) + nope;
    for (let c = 0; c < rope; c++) this.#query[latent + c] = this.#round(q[rotated + c]);
  }
}
