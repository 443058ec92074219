import {
  activityOf,
  NO_LAYER,
  spanNames,
  type SpanBatch,
  type TracedSpan,
} from "../../trace/index.ts";

/** A span with the rows it was for, and their micro-batch. */
export interface RankSpan extends TracedSpan {
  readonly rows: number;
  readonly microBatch: number;
}

/** By rank: the spans of so many ranks that began after a moment, in microseconds of the trace. */
export function spansByRank(
  batches: readonly SpanBatch[],
  ranks: number,
  from: number,
): RankSpan[][] {
  const byRank = Array.from({ length: ranks }, (): RankSpan[] => []);
  for (const batch of batches) byRank[batch.rank].push(...spansOf(batch, from));
  return byRank;
}

function spansOf(batch: SpanBatch, from: number): RankSpan[] {
  const spans: RankSpan[] = [];
  for (const [i, start] of batch.starts.entries()) {
    const end = batch.ends[i];
    if (Number.isNaN(end) || start < from) continue;
    const name = spanNames[batch.names[i]];
    const layer = batch.layers[i];
    spans.push({
      ...{ rank: `${batch.rank}`, activity: activityOf(name), kind: name, start, end },
      ...{ rows: batch.rows[i], microBatch: batch.microBatches[i] },
      ...(layer !== NO_LAYER && { layer }),
    });
  }
  return spans;
}
