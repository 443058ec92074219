import {
  operandFormats,
  rowScales,
  type Operand,
  type OperandFormat,
  type OperandFormatName,
  type RowFormat,
  type StoredRows,
} from "../operand-format.ts";

export type Values =
  | Float64Array
  | Float32Array
  | Uint16Array
  | Uint8Array
  | Int8Array
  | Int32Array;

/** Values on either side of an array that belong to nobody. */
const MARGIN = 16;

const poison = (values: Values) => {
  if (values instanceof Float32Array || values instanceof Float64Array) return NaN;
  return values instanceof Int32Array ? -77777 : 0x7f;
};

export function guarded<T extends Values>(memory: T): T {
  memory.fill(poison(memory));
  return memory.subarray(MARGIN, memory.length - MARGIN) as T;
}

export const floats = (count: number) => guarded(new Float32Array(count + 2 * MARGIN));
export const doubles = (count: number) => guarded(new Float64Array(count + 2 * MARGIN));
export const integers = (count: number) => guarded(new Int32Array(count + 2 * MARGIN));

/** Whether the values on either side of an output are as they were. */
export function marginsHold(values: Values): boolean {
  const { buffer, BYTES_PER_ELEMENT: size } = values;
  const memory = new (values.constructor as new (buffer: ArrayBufferLike) => Values)(buffer);
  const expected = poison(values);
  const first = values.byteOffset / size;
  const margins = [memory.subarray(0, first), memory.subarray(first + values.length)];
  return margins.every((margin) => margin.every((value) => Object.is(value, expected)));
}

export function inputs(values: Float32Array): Float32Array {
  const out = floats(values.length);
  out.set(values);
  return out;
}

export function outputOperand(format: OperandFormatName, rows: number, columns: number): Operand {
  const { Values: Memory }: OperandFormat = operandFormats[format];
  const values: Values = guarded(new Memory(rows * columns + 2 * MARGIN));
  return { format, columns, values, scales: floats(rows * rowScales(format, columns)) } as Operand;
}

export function storedRows(format: RowFormat, count: number): StoredRows {
  return guarded<StoredRows>(new operandFormats[format].Values(count + 2 * MARGIN));
}
