import { float32 } from "../float-formats.ts";
import type { OperandFormatName } from "../operand-format.ts";
import type { LoadedWeight } from "../weight-reader.ts";

/** How a policy rounds a matmul's input value. */
export type Round = (x: number) => number;

/** Matmul rows decoded to float64, in which a product of two BF16 or FP8 values is exact. */
export interface DecodedRows {
  readonly format: OperandFormatName;
  readonly values: Float64Array;
  /** First value of the first row, and the distance between rows. */
  readonly from: number;
  readonly stride: number;
  /** Of rows with scales: [rows, rowBlocks] from `scalesFrom`. */
  readonly scales?: Float32Array | undefined;
  readonly scalesFrom?: number;
  readonly rowBlocks?: number;
}

/** Where a matmul writes: output n of row m goes to `from + m · stride + n`. */
export interface MatrixTarget {
  readonly values: Float32Array;
  readonly from: number;
  readonly stride: number;
}

/** out[m, n] = x[m] · weight[firstRow + n] for `rows` rows and `outputs` weight rows. */
export type Product = (
  out: MatrixTarget,
  x: DecodedRows,
  rows: number,
  weight: LoadedWeight,
  firstRow: number,
  outputs: number,
) => void;

/** Outputs computed together, to read each input once for all of them. */
export const PANEL = 4;

/** PANEL weight rows; the last of `count` again in place of those that are missing. */
export function panelOf(weight: LoadedWeight, firstRow: number, count: number): Float32Array[] {
  const row = (i: number) => weight.row(firstRow + Math.min(i, count - 1));
  return Array.from({ length: PANEL }, (_, i) => row(i));
}

/** Each row's inputs, denormals flushed. */
export function inputRows({ values, from, stride }: DecodedRows, rows: number, columns: number) {
  return Array.from({ length: rows }, (_, m) => {
    const row = values.slice(from + m * stride, from + m * stride + columns);
    for (let i = 0; i < columns; i++) row[i] = float32(row[i]);
    return row;
  });
}
