import { float32, float32Values } from "../float-formats.ts";
import { LANES, sumOfLanes } from "../lanes.ts";
import type { DecodedRows, Product } from "./product.ts";

/**
 * Products and sums that are rounded one by one: input k of a row is added to lane k mod LANES. The
 * sums of a block of inputs start from zero and are promoted lane by lane in ascending order of
 * blocks, multiplied by the block's scale (DeepGEMM's promotion); the lanes are added at the end.
 */
export const multiplyPlain: Product = (out, x, rows, weight, firstRow, outputs) => {
  const inputs = Array.from({ length: rows }, (_, m) => inputRow(x, m, weight.columns));
  const totals = new Float32Array(LANES);
  const sums = new Float32Array(LANES);
  for (let n = 0; n < outputs; n++) {
    const row = firstRow + n;
    const values = float32Values(weight.row(row));
    for (let m = 0; m < rows; m++) {
      totals.fill(0);
      for (let block = 0; block < weight.scaleColumns; block++) {
        const start = block * weight.blockColumns;
        addProducts(sums, inputs[m], values, start, start + weight.blockColumns);
        promote(totals, sums, weight.scale(row, block));
      }
      out.values[out.from + m * out.stride + n] = sumOfLanes(totals);
    }
  }
};

function inputRow({ values, from, stride }: DecodedRows, m: number, columns: number) {
  const at = from + m * stride;
  return float32Values(values.subarray(at, at + columns));
}

/** sums = the products of inputs `start` up to `end`, as far as there are any. */
function addProducts(
  sums: Float32Array,
  x: Float32Array,
  w: Float32Array,
  start: number,
  end: number,
): void {
  sums.fill(0);
  const last = Math.min(end, x.length);
  for (let k = start; k < last; k++) {
    sums[k % LANES] = float32(sums[k % LANES] + float32(x[k] * w[k]));
  }
}

function promote(totals: Float32Array, sums: Float32Array, scale: number): void {
  for (let i = 0; i < LANES; i++) totals[i] = float32(totals[i] + float32(sums[i] * scale));
}
