import { allocate } from "./buffers.ts";
import { decodeBf16, float32, nextPowerOfTwo, toBf16 } from "./float-formats.ts";
import {
  operandFormats,
  rowScales,
  type Codes,
  type Operand,
  type OperandFormat,
  type OperandFormatName,
  type RowFormat,
  type StoredRows,
} from "./operand-format.ts";
import type { ScaleFormat } from "./policy.ts";
import { SCALE_BLOCK } from "./weight-format.ts";

/** An operand for `rows` rows, its contents unset. */
export function createOperand(format: OperandFormatName, rows: number, columns: number): Operand {
  const { Values }: OperandFormat = operandFormats[format];
  return {
    format,
    columns,
    values: allocate<Operand["values"]>(Values, rows * columns),
    scales: allocate(Float32Array, rows * rowScales(format, columns)),
  } as Operand;
}

/** Whole rows that an operand has memory for. */
export function rowsOf({ format, columns, values, scales }: Operand): number {
  const rows = Math.floor(values.length / columns);
  const blocks = rowScales(format, columns);
  return blocks === 0 ? rows : Math.min(rows, Math.floor(scales.length / blocks));
}

/** Storage for rows that are kept between operations. */
export function createStoredRows(format: RowFormat, count: number): StoredRows {
  return allocate<StoredRows>(operandFormats[format].Values, count);
}

export function formatOfRows(values: StoredRows): RowFormat {
  return values instanceof Float32Array ? "f32" : "bf16";
}

const noScales = new Float32Array(0);

/** Stored rows as an operand that shares their memory. */
export function storedOperand(values: StoredRows, columns: number): Operand {
  return { format: formatOfRows(values), columns, values, scales: noScales } as Operand;
}

/** Rounds `rows` rows of x to a matmul's input. */
export function quantize(out: Operand, x: Float32Array, rows: number, scales: ScaleFormat): void {
  const { codes }: OperandFormat = operandFormats[out.format];
  if (!codes) storeRows(out.values as StoredRows, x, rows * out.columns);
  else for (let row = 0; row < rows; row++) quantizeRow(out, codes, x, row, scales);
}

/**
 * One scale for each block of columns, as DeepSeek-V3's act_quant; the floor is under the largest value.
 * A block with a value that is not finite gets NaN as its scale.
 */
function quantizeRow(
  { format, columns, values, scales }: Operand,
  codes: Codes,
  x: Float32Array,
  row: number,
  scaleFormat: ScaleFormat,
): void {
  const blocks = rowScales(format, columns);
  for (let block = 0; block < blocks; block++) {
    const start = row * columns + block * SCALE_BLOCK;
    const end = Math.min(start + SCALE_BLOCK, (row + 1) * columns);
    let largest = ACTIVATION_FLOOR;
    let poison = 0;
    for (let i = start; i < end; i++) {
      if (Math.abs(x[i]) > largest) largest = Math.abs(x[i]);
      poison += x[i] - x[i];
    }
    const scale = blockScale(largest, codes, scaleFormat);
    scales[row * blocks + block] = scale + poison;
    encodeBlock(values, codes, x, start, end, largest, scale);
  }
}

function encodeBlock(
  out: Operand["values"],
  codes: Codes,
  x: Float32Array,
  start: number,
  end: number,
  largest: number,
  scale: number,
): void {
  if (codes.scaling === "divide") {
    for (let i = start; i < end; i++) out[i] = codes.encode(float32(float32(x[i]) / scale));
    return;
  }
  const inverse = Math.fround(codes.largest / Math.fround(largest));
  for (let i = start; i < end; i++) out[i] = codes.encode(float32(float32(x[i]) * inverse));
}

/** Keeps an all-zero block's scale a normal number. */
const ACTIVATION_FLOOR = 1e-4;

/** The scale under which a block's largest magnitude becomes a code's. */
export function blockScale(largest: number, codes: Codes, format: ScaleFormat): number {
  const scale = Math.fround(Math.fround(largest) / codes.largest);
  return codes.scaling === "divide" && format === "ue8m0" ? nextPowerOfTwo(scale) : scale;
}

/** Stores values as BF16 bits or float32, as `out` keeps them. */
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

/** An operand's rows as numbers, codes before their scale. */
export function decodeOperand(out: Float64Array, x: Operand, rows: number): void {
  const count = rows * x.columns;
  const { codes }: OperandFormat = operandFormats[x.format];
  if (codes) codes.decode(out, 0, x.values as Uint8Array | Int8Array, 0, count);
  else loadRows(out, 0, x.values as StoredRows, 0, count);
}
