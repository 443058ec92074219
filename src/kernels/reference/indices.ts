import { PAGE_TOKENS, type StepLayout } from "../stream.ts";

/**
 * Refuses indices that lead out of their arrays, as native/host/indices.cc does.
 * @throws RangeError unless `count` values from `first` on are from 0 up to `limit`
 */
export function refuseOutside(
  name: string,
  values: Int32Array,
  { first = 0, count, limit }: { first?: number; count: number; limit: number },
): void {
  for (let i = first; i < first + count; i++) refuse(name, values, i, 0, limit - 1);
}

/** @throws RangeError unless starts [groups + 1] ascend within [0, rows] */
export function refuseUnordered(name: string, starts: Int32Array, groups: number, rows: number) {
  for (let i = 0; i <= groups; i++) refuse(name, starts, i, i > 0 ? starts[i - 1] : 0, rows);
}

/** @throws RangeError unless the rows' sequences, positions and pages lie in a pool of `pages` */
export function refuseStrayLayout(operation: string, layout: StepLayout, pages: number): void {
  const { rows, rowStarts, positions, pageTables, tableStride } = layout;
  const sequences = rowStarts.length - 1;
  refuseUnordered(`${operation}: rowStarts`, rowStarts, sequences, rows);
  refuse(`${operation}: rowStarts`, rowStarts, 0, 0, 0);
  refuse(`${operation}: rowStarts`, rowStarts, sequences, rows, rows);
  const limit = tableStride * PAGE_TOKENS;
  refuseOutside(`${operation}: positions`, positions, { count: rows, limit });
  for (let s = 0; s < sequences; s++) {
    if (rowStarts[s] === rowStarts[s + 1]) continue;
    const last = positions
      .subarray(rowStarts[s], rowStarts[s + 1])
      .reduce((a, b) => Math.max(a, b));
    const count = Math.floor(last / PAGE_TOKENS) + 1;
    const range = { first: s * tableStride, count, limit: pages };
    refuseOutside(`${operation}: pageTables`, pageTables, range);
  }
}

function refuse(name: string, values: Int32Array, index: number, low: number, high: number): void {
  const value = values[index];
  if (value >= low && value <= high) return;
  const range = low < high ? `${low} to ${high}` : high;
  throw new RangeError(`${name}[${index}] is ${value}, expected ${high < low ? "none" : range}`);
}
