import type { TokenChoice } from "../../kernels/index.ts";
import type { StepBatch } from "../../model/index.ts";
import type { StepPart } from "./scheduler.ts";
import type { Sequence } from "./sequence.ts";

/** Lays the parts' rows out as one batch, and says how a token is chosen after each logit row. */
export function layOut(parts: readonly StepPart[]): { batch: StepBatch; choices: TokenChoice[] } {
  const rows = parts.reduce((sum, part) => sum + part.rows, 0);
  const tableStride = Math.max(0, ...parts.map(({ sequence }) => sequence.pages.length));
  const tokens = new Int32Array(rows);
  const positions = new Int32Array(rows);
  const rowStarts = new Int32Array(parts.length + 1);
  const pageTables = new Int32Array(parts.length * tableStride);
  const logitRows: number[] = [];
  const choices: TokenChoice[] = [];
  parts.forEach(({ sequence, rows: count, logitRows: own, proposed }, i) => {
    const { computed, pages } = sequence;
    const context = sequence.followedBy(proposed);
    const start = rowStarts[i];
    tokens.set(context.subarray(computed, computed + count), start);
    for (let j = 0; j < count; j++) positions[start + j] = computed + j;
    rowStarts[i + 1] = start + count;
    pageTables.set(pages, i * tableStride);
    const { topLogprobs } = sequence.request;
    for (const row of own) {
      logitRows.push(start + row);
      const choice = choiceAfter(sequence, context.subarray(0, computed + row + 1));
      choices.push({ ...choice, topLogprobs });
    }
  });
  const batch = { rows, tokens, positions, rowStarts, pageTables, tableStride };
  return { batch: { ...batch, logitRows: Int32Array.from(logitRows) }, choices };
}

/**
 * How a sequence's token after a context is chosen, drafted or not: the context's length is the choice's
 * position, on which its random number depends.
 */
export function choiceAfter(sequence: Sequence, tokens: Uint32Array): TokenChoice {
  const { request, promptLength, sampling: state } = sequence;
  const { choice, sampling: parameters } = request;
  return { tokens, promptLength, choice, parameters, state, mask: sequence.maskAfter(tokens) };
}
