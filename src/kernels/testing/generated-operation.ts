import type { Values } from "../inputs/index.ts";
import { rowScales, type Operand } from "../operand-format.ts";
import type { Stream } from "../stream.ts";

/**
 * How close results on tiles must come to the reference's; integers and codes always agree exactly,
 * and so does everything without tiles.
 */
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

export const partsOf = (x: Operand): Values[] => [x.values, x.scales];

/** Rows `from` up to `to` of an operand. */
export function operandRows(x: Operand, from: number, to: number): Operand {
  const { format, columns } = x;
  const blocks = rowScales(format, columns);
  const values = x.values.subarray(from * columns, to * columns);
  return { ...x, values, scales: x.scales.subarray(from * blocks, to * blocks) } as Operand;
}
