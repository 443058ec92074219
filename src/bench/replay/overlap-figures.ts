import { median } from "../percentiles.ts";
import type { RankSpan } from "../ladder/index.ts";
import { stepWindows, type LayerTimes } from "./overlap-windows.ts";

/** Steps of one size, means over them and over ranks; milliseconds. */
export interface StepTimes {
  readonly steps: number;
  /** Of a rank. */
  readonly rows: number;
  /** Of a rank in all its steps, of whatever size. */
  readonly allRows: number;
  readonly step: number;
  /** In which anything was computed. */
  readonly compute: number;
  readonly layers: readonly LayerComputing[];
  /** What belongs to no layer. */
  readonly rest: number;
}

/** What a layer computes: `attention` with the gate, of which `projected` is the first part where it has two. */
interface LayerComputing {
  readonly attention: number;
  readonly projected: number;
  readonly shared: number;
  readonly experts: number;
  readonly reduce: number;
  readonly isSparse: boolean;
}

/** Bytes that a rank sends in a step. */
export interface StepTraffic {
  readonly dispatched: number;
  readonly returned: number;
}

/** Requests are not always spread quite evenly over ranks. */
const ROWS_WITHIN = 0.15;

/** The steps of about so many rows of each rank. */
export function stepTimes(ranks: readonly (readonly RankSpan[])[], rows: number): StepTimes {
  const steps = ranks.flatMap((spans) => {
    const of = spans.filter(
      ({ kind, ...step }) => kind === "STEP" && Math.abs(step.rows / rows - 1) <= ROWS_WITHIN,
    );
    return of.map((step) => ({
      length: step.end - step.start,
      rows: step.rows,
      spans: spans.filter(
        ({ activity, start }) => activity === "compute" && start >= step.start && start < step.end,
      ),
    }));
  });
  if (steps.length === 0) throw new Error(`no step had about ${rows} rows`);
  const mean = (of: (spans: readonly RankSpan[]) => number) =>
    steps.reduce((total, { spans }) => total + of(spans), 0) / steps.length / 1000;
  const layers = 1 + Math.max(...steps[0].spans.map(({ layer }) => layer ?? 0));
  const length = (...kinds: string[]) => lengthOf((span) => kinds.includes(span.kind));
  return {
    steps: steps.length / ranks.length,
    rows: steps.reduce((total, step) => total + step.rows, 0) / steps.length,
    allRows:
      ranks
        .flat()
        .reduce((total, { kind, ...step }) => total + (kind === "STEP" ? step.rows : 0), 0) /
      ranks.length,
    step: steps.reduce((total, step) => total + step.length, 0) / steps.length / 1000,
    compute: mean((spans) => unionOf(spans)),
    rest: mean(lengthOf(({ layer }) => layer === undefined)),
    layers: Array.from({ length: layers }, (_, index) => {
      const own = (of: (spans: readonly RankSpan[]) => number) =>
        mean((spans) => of(spans.filter(({ layer }) => layer === index)));
      return {
        attention: own(length("ATTN", "GATE")),
        projected: own(projectedOf),
        shared: own(length("SHARED")),
        experts: own(length("MLP")),
        reduce: own(length("REDUCE")),
        isSparse: own(length("GATE")) > 0,
      };
    }),
  };
}

const lengthOf = (chosen: (span: RankSpan) => boolean) => (spans: readonly RankSpan[]) =>
  spans.filter(chosen).reduce((total, { start, end }) => total + end - start, 0);

/** Of attention in two stages, the first. */
function projectedOf(spans: readonly RankSpan[]): number {
  const attention = spans
    .filter(({ kind }) => kind === "ATTN")
    .toSorted((a, b) => a.start - b.start);
  const first = attention.filter(
    (span, i) => attention.findIndex(({ microBatch }) => microBatch === span.microBatch) === i,
  );
  return attention.length > first.length ? lengthOf(() => true)(first) : 0;
}

function unionOf(spans: readonly RankSpan[]): number {
  let total = 0;
  let until = -Infinity;
  for (const { start, end } of spans.toSorted((a, b) => a.start - b.start)) {
    total += Math.max(0, end - Math.max(start, until));
    until = Math.max(until, end);
  }
  return total;
}

/** What steps took with and without overlap, beside what the stages' windows allow; milliseconds. */
export interface OverlapFigures {
  readonly computeMs: number;
  readonly wireMs: number;
  readonly gain: number;
  /** 1 − what the computation waits ÷ what the wire takes. */
  readonly hidden: { readonly off: number; readonly on: number };
  readonly allowed: { readonly gain: number; readonly hidden: number };
}

export async function overlapFigures(
  order: "prefill" | "decode",
  off: readonly StepTimes[],
  on: readonly StepTimes[],
  { dispatched, returned }: StepTraffic,
  bitsPerSecond: number,
  pieces: number,
): Promise<OverlapFigures> {
  const wire = (bytes: number) => (8000 * bytes) / bitsPerSecond;
  const wireMs = wire(dispatched + returned);
  const hidden = (times: readonly StepTimes[]) =>
    1 - median(times.map(({ step, compute }) => step - compute)) / wireMs;
  const [first] = off;
  const sparse = first.layers.filter(({ isSparse }) => isSparse).length;
  const layers = first.layers.map(({ attention, isSparse, ...layer }, index): LayerTimes => {
    const whole = on[0].layers[index];
    const projected = (attention * whole.projected) / whole.attention;
    return {
      ...layer,
      ...{ project: projected, attend: attention - projected },
      dispatch: isSparse ? wire(dispatched) / sparse : 0,
      combine: isSparse ? wire(returned) / sparse : 0,
    };
  });
  const windows = [await stepWindows("whole", layers), await stepWindows(order, layers, pieces)];
  const [wholeMs, overlappedMs] = windows.map(({ milliseconds }) => milliseconds + first.rest);
  return {
    computeMs: median(off.map(({ compute }) => compute)),
    wireMs,
    gain: median(off.map(({ step }, round) => step / on[round].step)),
    hidden: { off: hidden(off), on: hidden(on) },
    allowed: { gain: wholeMs / overlappedMs, hidden: 1 - windows[1].waited / wireMs },
  };
}
