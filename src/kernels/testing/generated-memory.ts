import { gaussian, type WeightMaker } from "./generators.ts";
import type { Policy } from "../policy.ts";
import { createReferenceKernels } from "../reference/index.ts";
import type { Operand, StoredRows, Stream } from "../stream.ts";
import { SCALE_BLOCK } from "../weight.ts";

export type Values = Float64Array | Float32Array | Uint16Array | Uint8Array | Int32Array;

/** How close two backends' results must be; integers and codes always agree exactly. */
export type Agreement =
  | "exact"
  /** Largest difference as a share of the largest value. */
  | { readonly ofMaximum: number }
  /** Root of the summed squares, as a share of the values'. */
  | { readonly relativeL2: number };

/** An operation on generated inputs, to be enqueued on any stream of its policy. */
export interface GeneratedOperation {
  readonly name: string;
  readonly rows: number;
  readonly agreement: Agreement;
  /**
   * Enqueues it for rows `from` up to `to`, by default all, and returns where the outputs will be:
   * arrays of whole rows, between values that nobody may touch.
   */
  enqueue(stream: Stream, from?: number, to?: number): Values[];
}

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
  return memory.every(
    (value, i) => (i >= first && i < first + values.length) || Object.is(value, expected),
  );
}

export function inputs(values: Float32Array): Float32Array {
  const out = floats(values.length);
  out.set(values);
  return out;
}

export function outputOperand(format: Operand["format"], rows: number, columns: number): Operand {
  const count = rows * columns + 2 * MARGIN;
  if (format === "f32") return { format, columns, values: floats(rows * columns) };
  if (format === "bf16") return { format, columns, values: guarded(new Uint16Array(count)) };
  const scales = floats(rows * Math.ceil(columns / SCALE_BLOCK));
  return { format, columns, values: guarded(new Uint8Array(count)), scales };
}

export const partsOf = (x: Operand): Values[] =>
  x.format === "fp8" ? [x.values, x.scales] : [x.values];

/** Rows `from` up to `to` of an operand. */
export function operandRows(x: Operand, from: number, to: number): Operand {
  const { columns } = x;
  const blocks = Math.ceil(columns / SCALE_BLOCK);
  const values = x.values.subarray(from * columns, to * columns);
  if (x.format !== "fp8") return { ...x, values } as Operand;
  return { ...x, values, scales: x.scales.subarray(from * blocks, to * blocks) } as Operand;
}

export function storedRows(policy: Policy, count: number): StoredRows {
  const size = count + 2 * MARGIN;
  return guarded(policy === "f32" ? new Float32Array(size) : new Uint16Array(size));
}

export const reference = createReferenceKernels();

/** Random rows as a policy rounds them for a matmul. */
export function operandOf(
  random: () => number,
  format: Operand["format"],
  rows: number,
  columns: number,
) {
  const operand = outputOperand(format, rows, columns);
  reference.createStream("f32").quantize(operand, gaussian(random, rows * columns), rows);
  return operand;
}

export interface GeneratorSetting {
  readonly folder: WeightMaker;
  readonly policy: Policy;
  readonly seed: number;
}
