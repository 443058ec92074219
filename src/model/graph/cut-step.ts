import type { StepLayout } from "../../kernels/index.ts";

/** A row costs as much as so many tokens of its context: projections and experts beside attention. */
const ROW_COST = 2048;
/** So many rows of any buffer end on a cache line. */
const ALIGNED_ROWS = 16;

/**
 * A step's earlier and later rows, of about the same work. A sequence may be cut between both: its
 * later rows read what the earlier ones have written in each layer.
 */
export function cutStep(step: StepLayout): [earlier: StepLayout, later: StepLayout] {
  const middle = middleRow(step);
  const cut = step.rows >= 2 * ALIGNED_ROWS ? middle - (middle % ALIGNED_ROWS) : middle;
  return [rowsOf(step, 0, cut), rowsOf(step, cut, step.rows)];
}

/** The row that has most nearly half of the work before it. */
function middleRow({ rows, positions }: StepLayout): number {
  const cost = (row: number) => ROW_COST + positions[row];
  let after = 0;
  for (let row = 0; row < rows; row++) after += cost(row);
  let before = 0;
  let row = 0;
  while (after - before > cost(row)) {
    before += cost(row);
    after -= cost(row++);
  }
  return row;
}

/** Rows `first` up to `end`, as a step of their own. */
function rowsOf(step: StepLayout, first: number, end: number): StepLayout {
  const { positions, rowStarts, pageTables, tableStride } = step;
  const sequences = Array.from({ length: rowStarts.length - 1 }, (_, sequence) => sequence).filter(
    (sequence) => rowStarts[sequence] < end && rowStarts[sequence + 1] > first,
  );
  const [firstSequence = 0] = sequences;
  const tables = firstSequence * tableStride;
  return {
    rows: end - first,
    positions: positions.subarray(first, end),
    rowStarts: Int32Array.of(
      0,
      ...sequences.map((sequence) => Math.min(rowStarts[sequence + 1], end) - first),
    ),
    pageTables: pageTables.subarray(tables, tables + sequences.length * tableStride),
    tableStride,
  };
}
