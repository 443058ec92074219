import { float32 } from "../float-formats.ts";
import type { RowFormat } from "../operand-format.ts";
import type { MlaShape } from "../stream.ts";
import { SCALE_BLOCK, weightFormats } from "../weight-format.ts";
import type { LoadedWeight } from "../weight-reader.ts";
import type { Round } from "./product.ts";
import { multiplyPairs } from "./chain-product.ts";
import { isPlain } from "./gemm.ts";

/**
 * out[row, head] = W_UK[head]ᵀ q_nope: the query moved into the latent space, so that attention
 * reads the cache as it lies. The sum runs over weight rows and is cut where a block of rows that
 * share scales ends, each part promoted with its block's scale. Neighbouring rows of a part are the
 * pairs of a BF16 chain; under `f32` products and sums are rounded one by one.
 */
export function absorbQuery(
  out: Float32Array,
  q: Float32Array,
  kvB: LoadedWeight,
  shape: MlaShape,
  rows: number,
  format: RowFormat,
  round: Round,
): void {
  const { heads, nope, latent } = shape;
  const queryWidth = nope + shape.rope;
  const sums = new Float64Array(latent);
  const addRows = isPlain(format, kvB.dtype) ? addPlain : addPairs;
  const cutRows = weightFormats[kvB.dtype].scaleBlocks[0]?.[0] ?? SCALE_BLOCK;
  out.fill(0, 0, rows * heads * latent);
  for (let head = 0; head < heads; head++) {
    const first = head * (nope + shape.value);
    for (let j = 0; j < nope;) {
      const weightRow = first + j;
      const count = Math.min(nope - j, cutRows - (weightRow % cutRows));
      const weights = Array.from({ length: count }, (_, i) => kvB.row(weightRow + i));
      for (let row = 0; row < rows; row++) {
        const from = (row * heads + head) * queryWidth + j;
        const query = q.subarray(from, from + count).map((x) => float32(round(x)));
        sums.fill(0);
        addRows(sums, weights, query);
        promote(out.subarray((row * heads + head) * latent), sums, kvB, weightRow);
      }
      j += count;
    }
  }
}

function addPairs(sums: Float64Array, rows: readonly Float32Array[], query: Float32Array): void {
  const zeros = new Float32Array(sums.length);
  for (let i = 0; i < rows.length; i += 2) {
    const [even, odd = zeros] = rows.slice(i, i + 2);
    const [a0, a1 = 0] = query.subarray(i, i + 2);
    for (let c = 0; c < sums.length; c++) {
      sums[c] = multiplyPairs(sums[c], a0, even[c], a1, odd[c]);
    }
  }
}

function addPlain(sums: Float64Array, rows: readonly Float32Array[], query: Float32Array): void {
  for (const [i, row] of rows.entries()) {
    for (let c = 0; c < sums.length; c++) sums[c] = float32(sums[c] + float32(query[i] * row[c]));
  }
}

function promote(totals: Float32Array, sums: Float64Array, kvB: LoadedWeight, row: number): void {
  for (let c = 0; c < sums.length; c++) {
    const scale = kvB.scale(row, Math.floor(c / kvB.blockColumns));
    totals[c] = float32(totals[c] + float32(sums[c] * scale));
  }
}
