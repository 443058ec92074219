import { PAGE_TOKENS } from "../../kernels/index.ts";
import type { StepBatch } from "../../model/index.ts";

/** What is measured on every rank: a prompt's computation, or the next token of some requests. */
export type Workload =
  | { readonly measure: "prefill"; readonly prompt: number }
  | { readonly measure: "decode"; readonly batch: number; readonly context: number };

/** Rows of a prompt that are computed at once. */
export const CHUNK_ROWS = 512;

/**
 * Drawings of a workload's tokens, which take turns so that no choice of experts decides alone. A
 * prompt's rows choose them all.
 */
export function drawingsOf({ measure }: Workload): number {
  return measure === "decode" ? 4 : 1;
}

/** The largest step of a workload. */
export function rowsOf(workload: Workload): number {
  return workload.measure === "decode" ? workload.batch : Math.min(workload.prompt, CHUNK_ROWS);
}

/** Requests whose KV lies in the pool together. */
export function pagesOf(workload: Workload): number {
  return workload.measure === "decode"
    ? workload.batch * Math.ceil(workload.context / PAGE_TOKENS)
    : Math.ceil(workload.prompt / PAGE_TOKENS);
}

/** Tokens a rank has computed after one pass. */
export function tokensOf(workload: Workload): number {
  return workload.measure === "decode" ? workload.batch : workload.prompt;
}

/**
 * The steps of one pass, with random tokens: those of a prompt's chunks, or one of a row for each
 * request at its context's end. Pages of a request are scattered over the pool's `pages`.
 */
export function stepsOf(
  workload: Workload,
  { vocabSize, pages, random }: { vocabSize: number; pages: number; random: () => number },
): StepBatch[] {
  const token = () => Math.floor(random() * vocabSize);
  const shuffled = shuffle(
    Int32Array.from({ length: pages }, (_, i) => i),
    random,
  );
  if (workload.measure === "decode") {
    const { batch, context } = workload;
    return [
      {
        rows: batch,
        tokens: Int32Array.from({ length: batch }, token),
        positions: new Int32Array(batch).fill(context - 1),
        rowStarts: Int32Array.from({ length: batch + 1 }, (_, i) => i),
        pageTables: shuffled.slice(0, pagesOf(workload)),
        tableStride: Math.ceil(context / PAGE_TOKENS),
        logitRows: Int32Array.from({ length: batch }, (_, i) => i),
      },
    ];
  }
  const { prompt } = workload;
  const starts = Array.from({ length: Math.ceil(prompt / CHUNK_ROWS) }, (_, i) => i * CHUNK_ROWS);
  return starts.map((from) => {
    const rows = Math.min(CHUNK_ROWS, prompt - from);
    return {
      rows,
      tokens: Int32Array.from({ length: rows }, token),
      positions: Int32Array.from({ length: rows }, (_, i) => from + i),
      rowStarts: Int32Array.of(0, rows),
      pageTables: shuffled.slice(0, pagesOf(workload)),
      tableStride: pagesOf(workload),
      // Only the prompt's last row is continued.
      logitRows: from + rows === prompt ? Int32Array.of(rows - 1) : new Int32Array(0),
    };
  });
}

function shuffle(values: Int32Array, random: () => number): Int32Array {
  for (let i = values.length - 1; i > 0; i--) {
    const j = Math.floor(random() * (i + 1));
    [values[i], values[j]] = [values[j], values[i]];
  }
  return values;
}

/** (row, token it sees) of a pass. */
export function attendedPairs(steps: readonly StepBatch[]): number {
  return steps.reduce(
    (pairs, { positions }) => positions.reduce((sum, position) => sum + position + 1, pairs),
    0,
  );
}

/** Tokens of context that a pass reads: each sequence's once in a step. */
export function contextRead(steps: readonly StepBatch[]): number {
  let tokens = 0;
  for (const { rowStarts, positions } of steps) {
    for (let s = 1; s < rowStarts.length; s++) tokens += positions[rowStarts[s] - 1] + 1;
  }
  return tokens;
}
