import type { OperandFormatName, StoredRows } from "../operand-format.ts";
import { storeRows } from "../quantize.ts";
import type { WeightDtype } from "../weight-format.ts";
import type { LoadedWeight } from "../weight-reader.ts";
import { multiplyChains } from "./chain-product.ts";
import { multiplyIntegers } from "./integer-product.ts";
import { multiplyPlain } from "./plain-product.ts";
import type { DecodedRows, MatrixTarget, Product } from "./product.ts";

/** The formats alone decide how rows are multiplied with a weight. */
function productOf(x: OperandFormatName, weight: WeightDtype): Product {
  if (x === "int8") return multiplyIntegers;
  return isPlain(x, weight) ? multiplyPlain : multiplyChains;
}

/** Whether there are float32 values among the factors. */
export function isPlain(x: OperandFormatName, weight: WeightDtype): boolean {
  return x === "f32" || weight === "F32" || weight === "F16";
}

/** out[m, n] = x[m] · weight[firstRow + n]. */
export function multiply(
  out: MatrixTarget,
  x: DecodedRows,
  rows: number,
  weight: LoadedWeight,
  firstRow = 0,
  outputs = weight.rows,
): void {
  productOf(x.format, weight.dtype)(out, x, rows, weight, firstRow, outputs);
}

/**
 * Row groups times their own weight (DeepGEMM's contiguous grouped GEMM): rows `starts[g]` up to
 * `starts[g + 1]` of x are multiplied by `weights(g)`; outputs are stored as `out` keeps them.
 */
export function multiplyGroups(
  out: StoredRows,
  x: DecodedRows,
  weights: (group: number) => LoadedWeight,
  starts: Int32Array,
  outputs: number,
): void {
  for (let group = 0; group + 1 < starts.length; group++) {
    const start = starts[group];
    const rows = starts[group + 1] - start;
    if (rows === 0) continue;
    const values = new Float32Array(rows * outputs);
    const weight = weights(group);
    multiply(
      { values, from: 0, stride: outputs },
      { ...x, from: x.from + start * x.stride, scalesFrom: start * (x.rowBlocks ?? 0) },
      rows,
      weight,
    );
    storeRows(out.subarray(start * outputs), values, rows * outputs);
  }
}
