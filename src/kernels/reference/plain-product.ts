import { float32 } from "../float-formats.ts";
import { LANES, sumOfLanes } from "../lanes.ts";
import { inputRows, PANEL, panelOf, type Product } from "./product.ts";

/**
 * Products and sums that are rounded one by one: input k of a row is added to lane k mod LANES. The
 * sums of a block of inputs start from zero and are promoted lane by lane in ascending order of
 * blocks, multiplied by the block's scale (DeepGEMM's promotion); the lanes are added at the end.
 */
export const multiplyPlain: Product = (out, x, rows, weight, firstRow, outputs) => {
  const inputs = inputRows(x, rows, weight.columns);
  const sums = new Float64Array(PANEL);
  const scales = new Float64Array(PANEL);
  const totals = Array.from({ length: PANEL }, () => new Float32Array(LANES));
  for (let n = 0; n < outputs; n += PANEL) {
    const count = Math.min(PANEL, outputs - n);
    const panel = panelOf(weight, firstRow + n, count);
    for (let m = 0; m < rows; m++) {
      for (const lanes of totals) lanes.fill(0);
      for (let block = 0; block < weight.scaleColumns; block++) {
        const start = block * weight.blockColumns;
        const end = Math.min(start + weight.blockColumns, weight.columns);
        for (let i = 0; i < count; i++) scales[i] = weight.scale(firstRow + n + i, block);
        for (let lane = 0; lane < LANES; lane++) {
          addProducts(sums, inputs[m], panel, start + lane, end);
          for (let i = 0; i < count; i++) {
            totals[i][lane] = float32(totals[i][lane] + float32(sums[i] * scales[i]));
          }
        }
      }
      const at = out.from + m * out.stride + n;
      for (let i = 0; i < count; i++) out.values[at + i] = sumOfLanes(totals[i]);
    }
  }
};

/** sums = the products of inputs of one lane, `from` and on, up to `end`. */
function addProducts(
  sums: Float64Array,
  x: Float64Array,
  [w0, w1, w2, w3]: readonly Float32Array[],
  from: number,
  end: number,
): void {
  let sum0 = 0;
  let sum1 = 0;
  let sum2 = 0;
  let sum3 = 0;
  for (let k = from; k < end; k += LANES) {
    const value = x[k];
    sum0 = float32(sum0 + float32(value * w0[k]));
    sum1 = float32(sum1 + float32(value * w1[k]));
    sum2 = float32(sum2 + float32(value * w2[k]));
    sum3 = float32(sum3 + float32(value * w3[k]));
  }
  sums[0] = sum0;
  sums[1] = sum1;
  sums[2] = sum2;
  sums[3] = sum3;
}
