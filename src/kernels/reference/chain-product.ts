import { float32 } from "../float-formats.ts";
import { inputRows, PANEL, panelOf, type Product } from "./product.ts";

/**
 * BF16 values times BF16 values on the BF16 chain (multiplyPairs). The chains of a block of inputs
 * start from zero and are promoted in ascending order of blocks, multiplied by the block's scales.
 */
export const multiplyChains: Product = (out, x, rows, weight, firstRow, outputs) => {
  const inputs = inputRows(x, rows, weight.columns);
  const sums = new Float64Array(PANEL);
  const totals = new Float64Array(PANEL);
  const { scales, scalesFrom = 0, rowBlocks = 0 } = x;
  for (let n = 0; n < outputs; n += PANEL) {
    const panel = panelOf(weight, firstRow + n, Math.min(PANEL, outputs - n));
    const count = Math.min(PANEL, outputs - n);
    for (let m = 0; m < rows; m++) {
      totals.fill(0);
      for (let block = 0; block < weight.scaleColumns; block++) {
        const start = block * weight.blockColumns;
        multiplyPanel(sums, inputs[m], panel, start, start + weight.blockColumns);
        const rowScale = scales ? scales[scalesFrom + m * rowBlocks + block] : 1;
        for (let i = 0; i < count; i++) {
          const scale = float32(rowScale * weight.scale(firstRow + n + i, block));
          totals[i] = float32(totals[i] + float32(sums[i] * scale));
        }
      }
      for (let i = 0; i < count; i++) out.values[out.from + m * out.stride + n + i] = totals[i];
    }
  }
};

/**
 * What vdpbf16ps adds to a float32 sum for a pair of BF16 values: the odd product, then the even one,
 * each by a fused multiply-add that flushes denormals. Float64 holds the product of two BF16 values
 * exactly, and rounds nothing of its sum with a float32 that float32 would keep.
 */
export function multiplyPairs(sum: number, a0: number, b0: number, a1: number, b1: number): number {
  return float32(a0 * b0 + float32(a1 * b1 + sum));
}

/** sums = the chains over inputs `start` up to `end`, as far as there are any. */
function multiplyPanel(
  sums: Float64Array,
  x: Float64Array,
  [w0, w1, w2, w3]: readonly Float32Array[],
  start: number,
  end: number,
): void {
  let sum0 = 0;
  let sum1 = 0;
  let sum2 = 0;
  let sum3 = 0;
  const last = Math.min(end, x.length);
  for (let k = start; k < last; k += 2) {
    const isPair = k + 1 < last;
    const a0 = x[k];
    const a1 = isPair ? x[k + 1] : 0;
    sum0 = multiplyPairs(sum0, a0, w0[k], a1, isPair ? w0[k + 1] : 0);
    sum1 = multiplyPairs(sum1, a0, w1[k], a1, isPair ? w1[k + 1] : 0);
    sum2 = multiplyPairs(sum2, a0, w2[k], a1, isPair ? w2[k + 1] : 0);
    sum3 = multiplyPairs(sum3, a0, w3[k], a1, isPair ? w3[k + 1] : 0);
  }
  sums[0] = sum0;
  sums[1] = sum1;
  sums[2] = sum2;
  sums[3] = sum3;
}
