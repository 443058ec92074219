import { allocate } from "./buffers.ts";
import {
  decodeBf16,
  decodeE4m3,
  E4M3_MAX,
  nextPowerOfTwo,
  toBf16,
  toE4m3,
} from "./float-formats.ts";
import type { Policy, ScaleFormat } from "./policy.ts";
import type { Operand, QuantizedWeight, StoredRows } from "./stream.ts";
import { SCALE_BLOCK, type WeightDtype } from "./weight.ts";

/** The format in which rows enter a matmul with a weight of this dtype. */
export function operandFormat(policy: Policy, weight: WeightDtype): Operand["format"] {
  if (policy === "f32") return "f32";
  return policy === "w8a8" && weight === "F8_E4M3" ? "fp8" : "bf16";
}

/** An operand for `rows` rows, its contents unset. */
export function createOperand(format: Operand["format"], rows: number, columns: number): Operand {
  switch (format) {
    case "f32":
      return { format, columns, values: allocate(Float32Array, rows * columns) };
    case "bf16":
      return { format, columns, values: allocate(Uint16Array, rows * columns) };
    case "fp8":
      return {
        format,
        columns,
        values: allocate(Uint8Array, rows * columns),
        scales: allocate(Float32Array, rows * Math.ceil(columns / SCALE_BLOCK)),
      };
  }
}

/** Whole rows that an operand has memory for. */
export function rowsOf(x: Operand): number {
  const rows = Math.floor(x.values.length / x.columns);
  if (x.format !== "fp8") return rows;
  return Math.min(rows, Math.floor(x.scales.length / Math.ceil(x.columns / SCALE_BLOCK)));
}

/** Storage for rows a policy keeps between operations: KV entries and expert outputs. */
export function createStoredRows(policy: Policy, count: number): StoredRows {
  return policy === "f32" ? allocate(Float32Array, count) : allocate(Uint16Array, count);
}

/** Room for `rows` rows of an FP8 weight, its contents unset. */
export function createQuantizedWeight(rows: number, columns: number): QuantizedWeight {
  const blocks = Math.ceil(rows / SCALE_BLOCK) * Math.ceil(columns / SCALE_BLOCK);
  return { values: new Uint8Array(rows * columns), scales: new Float32Array(blocks) };
}

/** Stored rows as the operand they are. */
export function storedOperand(values: StoredRows, columns: number): Operand {
  return values instanceof Float32Array
    ? { format: "f32", columns, values }
    : { format: "bf16", columns, values };
}

/** Rounds `rows` rows of x to a matmul's input. */
export function quantize(out: Operand, x: Float32Array, rows: number, scales: ScaleFormat): void {
  const count = rows * out.columns;
  if (out.format === "f32") out.values.set(x.subarray(0, count));
  else if (out.format === "bf16") storeRows(out.values, x, count);
  else for (let row = 0; row < rows; row++) quantizeRow(out, x, row, scales);
}

/**
 * One scale per 128 columns, as DeepSeek-V3's act_quant; the floor is under the largest value. A block
 * with a value that is not finite gets NaN as its scale.
 */
function quantizeRow(
  out: Operand & { format: "fp8" },
  x: Float32Array,
  row: number,
  format: ScaleFormat,
): void {
  const { columns, values, scales } = out;
  const blocks = Math.ceil(columns / SCALE_BLOCK);
  for (let block = 0; block < blocks; block++) {
    const start = row * columns + block * SCALE_BLOCK;
    const end = Math.min(start + SCALE_BLOCK, (row + 1) * columns);
    let largest = ACTIVATION_FLOOR;
    let poison = 0;
    for (let i = start; i < end; i++) {
      if (Math.abs(x[i]) > largest) largest = Math.abs(x[i]);
      poison += x[i] - x[i];
    }
    const scale = scaleFor(largest, format);
    scales[row * blocks + block] = scale + poison;
    for (let i = start; i < end; i++) values[i] = toE4m3(Math.fround(x[i] / scale));
  }
}

/** Keep an all-zero block's scale a normal number. */
const ACTIVATION_FLOOR = 1e-4;
const WEIGHT_FLOOR = 2 ** -100;

/** The scale under which a block's largest magnitude becomes e4m3's largest. */
function scaleFor(largest: number, format: ScaleFormat): number {
  const scale = Math.fround(Math.fround(largest) / E4M3_MAX);
  return format === "ue8m0" ? nextPowerOfTwo(scale) : scale;
}

/**
 * Rounds rows of a weight to FP8 with a scale for each 128 × 128 block, as DeepSeek-V3's checkpoints
 * are; a block with a value that is no number gets NaN as its scale.
 */
export function quantizeWeight(
  out: QuantizedWeight,
  x: Operand,
  rows: number,
  format: ScaleFormat,
): void {
  const { columns } = x;
  const values = new Float64Array(rows * columns);
  decodeOperand(values, x, rows);
  const scaleColumns = Math.ceil(columns / SCALE_BLOCK);
  for (let at = 0; at < Math.ceil(rows / SCALE_BLOCK) * scaleColumns; at++) {
    const firstRow = Math.floor(at / scaleColumns) * SCALE_BLOCK;
    const first = (at % scaleColumns) * SCALE_BLOCK;
    const endRow = Math.min(firstRow + SCALE_BLOCK, rows);
    const end = Math.min(first + SCALE_BLOCK, columns);
    let largest = WEIGHT_FLOOR;
    let poison = 0;
    for (let row = firstRow; row < endRow; row++) {
      for (let i = row * columns + first; i < row * columns + end; i++) {
        largest = Math.max(largest, Math.abs(values[i]));
        poison += values[i] - values[i];
      }
    }
    const scale = scaleFor(largest, format);
    out.scales[at] = scale + poison;
    for (let row = firstRow; row < endRow; row++) {
      for (let i = row * columns + first; i < row * columns + end; i++) {
        out.values[i] = toE4m3(Math.fround(values[i] / scale));
      }
    }
  }
}

/** Stores values as they are kept: BF16 bits or float32. */
export function storeRows(out: StoredRows, x: Float32Array, count: number): void {
  if (out instanceof Float32Array) out.set(x.subarray(0, count));
  else for (let i = 0; i < count; i++) out[i] = toBf16(x[i]);
}

/** Reads `count` stored values from `from` into float64, to `out` from `at`. */
export function loadRows(
  out: Float64Array,
  at: number,
  rows: StoredRows,
  from: number,
  count: number,
): void {
  if (rows instanceof Float32Array) out.set(rows.subarray(from, from + count), at);
  else decodeBf16(out, at, rows, from, count);
}

/** An operand's rows as numbers, FP8 codes before their scale. */
export function decodeOperand(out: Float64Array, x: Operand, rows: number): void {
  const count = rows * x.columns;
  if (x.format !== "fp8") loadRows(out, 0, x.values, 0, count);
  else decodeE4m3(out, 0, x.values, 0, count);
}
