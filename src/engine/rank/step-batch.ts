import type { TokenChoice } from "../../kernels/index.ts";
import type { StepBatch } from "../../model/index.ts";
import type { StepPart } from "./scheduler.ts";
import type { Sequence } from "./sequence.ts";

function rowsOf(parts: readonly StepPart[]): number {
  return parts.reduce((sum, part) => sum + part.rows, 0);
}

/** Lays the parts' rows out as one batch; only a context's last row needs logits. */
export function batchOf(parts: readonly StepPart[]): StepBatch {
  const rows = rowsOf(parts);
  const tableStride = Math.max(0, ...parts.map(({ sequence }) => sequence.pages.length));
  const tokens = new Int32Array(rows);
  const positions = new Int32Array(rows);
  const rowStarts = new Int32Array(parts.length + 1);
  const pageTables = new Int32Array(parts.length * tableStride);
  const logitRows: number[] = [];
  parts.forEach(({ sequence, rows: count, last }, i) => {
    const start = rowStarts[i];
    for (let j = 0; j < count; j++) {
      tokens[start + j] = sequence.tokens[sequence.computed + j];
      positions[start + j] = sequence.computed + j;
    }
    rowStarts[i + 1] = start + count;
    pageTables.set(sequence.pages, i * tableStride);
    if (last) logitRows.push(start + count - 1);
  });
  return {
    rows,
    tokens,
    positions,
    rowStarts,
    pageTables,
    tableStride,
    logitRows: Int32Array.from(logitRows),
  };
}

export function choiceOf({ request, tokens, promptLength }: Sequence): TokenChoice {
  const { choice, sampling: parameters, topLogprobs } = request;
  return { tokens, promptLength, choice, parameters, topLogprobs };
}
