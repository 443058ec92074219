import { float32 } from "../float-formats.ts";
import type { Product } from "./product.ts";
import { SCALE_BLOCK, weightFormats } from "../weight-format.ts";
import type { LoadedWeight } from "../weight-reader.ts";

/**
 * INT8 rows times integer weights. Products under one weight scale are summed exactly (the sum is
 * below 2^24, so that float32 has it); then the sum is scaled and added to a float32 total, each
 * result rounded, blocks ascending. INT4's groups, of which a block of the row may hold several, are
 * scaled and added up first, and the row's scale comes last.
 */
export const multiplyIntegers: Product = (out, x, rows, weight, firstRow, outputs) => {
  const { scales, scalesFrom = 0, rowBlocks = 0 } = x;
  if (!scales || weightFormats[weight.dtype].nonFinite)
    throw new RangeError("INT8 rows need integer weights");
  for (let n = 0; n < outputs; n++) {
    const codes = weight.row(firstRow + n);
    const weightScale = (group: number) => weight.scale(firstRow + n, group);
    for (let m = 0; m < rows; m++) {
      const row = x.values.subarray(x.from + m * x.stride, x.from + m * x.stride + weight.columns);
      let total = 0;
      for (let block = 0; block < rowBlocks; block++) {
        const rowScale = scales[scalesFrom + m * rowBlocks + block];
        total = float32(total + promoted(row, codes, weight, block, rowScale, weightScale));
      }
      out.values[out.from + m * out.stride + n] = total;
    }
  }
};

/** What a block of the row adds to the total. */
function promoted(
  row: Float64Array,
  codes: Float32Array,
  { dtype, blockColumns }: LoadedWeight,
  block: number,
  rowScale: number,
  weightScale: (group: number) => number,
): number {
  if (dtype !== "I4") {
    const scale = float32(rowScale * weightScale(block));
    return float32(sumOf(row, codes, block * SCALE_BLOCK, SCALE_BLOCK) * scale);
  }
  const end = Math.min((block + 1) * SCALE_BLOCK, row.length);
  let groups = 0;
  for (let k = block * SCALE_BLOCK; k < end; k += blockColumns) {
    const sum = sumOf(row, codes, k, blockColumns);
    groups = float32(groups + float32(sum * weightScale(k / blockColumns)));
  }
  return float32(groups * rowScale);
}

function sumOf(row: Float64Array, codes: Float32Array, from: number, count: number): number {
  const end = Math.min(from + count, row.length);
  let sum = 0;
  for (let k = from; k < end; k++) sum += row[k] * codes[k];
  return sum;
}
