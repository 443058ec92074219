import type { Product } from "./product.ts";
import { weightFormats } from "../weight-format.ts";

/**
 * INT8 rows times integer weights. A block's products are summed exactly (the sum is below 2^24, so
 * that float32 has it); then it is multiplied by the block's scales and added to a float32 total,
 * each result rounded, blocks ascending.
 */
export const multiplyIntegers: Product = (out, x, rows, weight, firstRow, outputs) => {
  const { columns, blockColumns, scaleColumns } = weight;
  const { values, scales, scalesFrom = 0, rowBlocks = 0 } = x;
  if (!scales || weightFormats[weight.dtype].nonFinite)
    throw new RangeError("INT8 rows need integer weights");
  for (let n = 0; n < outputs; n++) {
    const codes = weight.row(firstRow + n);
    for (let m = 0; m < rows; m++) {
      const from = x.from + m * x.stride;
      let total = 0;
      for (let block = 0; block < scaleColumns; block++) {
        const end = Math.min((block + 1) * blockColumns, columns);
        let sum = 0;
        for (let k = block * blockColumns; k < end; k++) sum += values[from + k] * codes[k];
        const rowScale = scales[scalesFrom + m * rowBlocks + block];
        const scale = Math.fround(rowScale * weight.scale(firstRow + n, block));
        total = Math.fround(total + Math.fround(sum * scale));
      }
      out.values[out.from + m * out.stride + n] = total;
    }
  }
};
