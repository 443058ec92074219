import { decodeE4m3, E4M3_MAX, toE4m3, toInteger } from "./float-formats.ts";
import { SCALE_BLOCK } from "./weight-format.ts";

/** What there is to know of the bytes of a matmul's input. */
export interface OperandFormat {
  /** The memory that holds a row's values. */
  readonly Values: typeof Float32Array | typeof Uint16Array | typeof Uint8Array | typeof Int8Array;
  /** Of the scale of each SCALE_BLOCK values of a row; 0 where rows have no scales. */
  readonly scaleBytes: number;
  /** Of a format with scales. */
  readonly codes?: Codes;
}

export interface Codes {
  /** The magnitude that a block's largest value is scaled to. */
  readonly largest: number;
  /**
   * A value becomes a code divided by its scale, which is float32 or a power of two as the policy's
   * scales are; or, as integer kernels do, multiplied by the rounded inverse of a float32 scale.
   */
  readonly scaling: "divide" | "multiply";
  encode(x: number): number;
  /** Codes as numbers, before their scale. */
  decode(
    out: Float64Array,
    at: number,
    codes: Uint8Array | Int8Array,
    from: number,
    count: number,
  ): void;
}

export const e4m3Codes: Codes = {
  ...{ largest: E4M3_MAX, scaling: "divide" },
  ...{ encode: toE4m3, decode: decodeE4m3 },
};

const INT8_MAX = 127;

export const int8Codes: Codes = {
  ...{ largest: INT8_MAX, scaling: "multiply" },
  encode: (x) => Math.max(-INT8_MAX, Math.min(INT8_MAX, toInteger(x))),
  decode(out, at, codes, from, count) {
    out.set(codes.subarray(from, from + count), at);
  },
};

export const operandFormats = {
  f32: { Values: Float32Array, scaleBytes: 0 },
  bf16: { Values: Uint16Array, scaleBytes: 0 },
  fp8: { Values: Uint8Array, scaleBytes: 4, codes: e4m3Codes },
  int8: { Values: Int8Array, scaleBytes: 4, codes: int8Codes },
} as const satisfies Readonly<Record<string, OperandFormat>>;

type Formats = typeof operandFormats;
export type OperandFormatName = keyof Formats;

/** Formats without scales, in which rows may be kept between operations. */
export type RowFormat = {
  [Name in OperandFormatName]: Formats[Name]["scaleBytes"] extends 0 ? Name : never;
}[OperandFormatName];

interface Values {
  readonly f32: Float32Array;
  readonly bf16: Uint16Array;
  readonly fp8: Uint8Array;
  readonly int8: Int8Array;
}

/** Rows that are kept between operations. */
export type StoredRows = Values[RowFormat];

/**
 * The input of a matmul as the policy rounds it; exactly these bytes travel when a row leaves its
 * rank. `values` is `[rows, columns]`.
 */
export type Operand = { [Name in OperandFormatName]: OperandOf<Name> }[OperandFormatName];

interface OperandOf<Name extends OperandFormatName> {
  readonly format: Name;
  readonly columns: number;
  readonly values: Values[Name];
  /** [rows, rowScales]; empty where the format has none. */
  readonly scales: Float32Array;
}

/** Scales of a row. */
export function rowScales(format: OperandFormatName, columns: number): number {
  return operandFormats[format].scaleBytes === 0 ? 0 : Math.ceil(columns / SCALE_BLOCK);
}

/** An operand's rows from one on, in the same memory. */
export function operandRows(operand: Operand, firstRow: number): Operand {
  const { format, columns, values, scales } = operand;
  return {
    ...operand,
    values: values.subarray(firstRow * columns),
    scales: scales.subarray(firstRow * rowScales(format, columns)),
  } as Operand;
}

/** Bytes of an operand row's values and scales. */
export function operandRowBytes({ format, columns }: Pick<Operand, "format" | "columns">) {
  const { Values, scaleBytes } = operandFormats[format];
  return {
    values: columns * Values.BYTES_PER_ELEMENT,
    scales: rowScales(format, columns) * scaleBytes,
  };
}
