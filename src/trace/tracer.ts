import { NO_LAYER, spanNames, type SpanBatch, type SpanName, type WaitName } from "./span.ts";

/** A span that has begun. */
export type Span = number;

/**
 * Where a rank's code says what it is doing. Spans may be ended in any order, so that two
 * micro-batches can have communication in flight at once.
 */
export interface Tracer {
  /** Begins the STEP span; spans that begin from here on are the step's. */
  beginStep(step: number, rows: number): Span;
  begin(name: SpanName, layer: number, rows: number, microBatch?: number): Span;
  end(span: Span): void;
}

/** A tracer whose spans somebody else can time. */
export interface TimedTracer extends Tracer {
  /** Microseconds of process.hrtime at the trace's epoch. */
  readonly monotonicEpoch: number;
  /** Where a span's times are kept until it is taken, each in an array of its own. */
  timesOf(span: Span): { readonly start: Float64Array; readonly end: Float64Array };
}

export function isTimed(tracer: Tracer): tracer is TimedTracer {
  return "timesOf" in tracer;
}

/** Records nothing. */
export const nullTracer: Tracer = {
  beginStep: () => 0,
  begin: () => 0,
  end: () => undefined,
};

/** What is waited for, which the span names. */
export async function waitFor<Awaited>(
  tracer: Tracer,
  name: WaitName,
  awaited: Promise<Awaited>,
): Promise<Awaited> {
  const span = tracer.begin(name, NO_LAYER, 0);
  try {
    return await awaited;
  } finally {
    tracer.end(span);
  }
}

/** Microseconds since a trace's epoch. */
export type Clock = () => number;

/** A clock that agrees over the threads of a process. `epochMs` is milliseconds of Unix time. */
export function clockSince(epochMs: number): Clock {
  const originMs = performance.timeOrigin - epochMs;
  return () => (originMs + performance.now()) * 1000;
}

export interface RecorderOptions {
  readonly node: number;
  /** Unique on its node. */
  readonly rank: number;
  readonly clock: Clock;
  /** Spans there is room for from the start. */
  readonly capacity?: number;
}

/** More than a step of two micro-batches through 61 layers takes. */
const DEFAULT_CAPACITY = 2048;

/**
 * Records a rank's spans in preallocated columns, without an object per span. `take` is to be
 * called between steps; the columns grow only when more spans begin between two takes than fit.
 */
export class SpanRecorder implements TimedTracer {
  readonly #node: number;
  readonly #rank: number;
  readonly #clock: Clock;
  #columns: SpanColumns;
  #capacity: number;
  #count = 0;
  #step = 0;

  constructor({ node, rank, clock, capacity = DEFAULT_CAPACITY }: RecorderOptions) {
    this.#node = node;
    this.#rank = rank;
    this.#clock = clock;
    this.#capacity = capacity;
    this.#columns = createColumns(capacity);
  }

  beginStep(step: number, rows: number): Span {
    this.#step = step;
    return this.begin("STEP", NO_LAYER, rows);
  }

  begin(name: SpanName, layer: number, rows: number, microBatch = 0): Span {
    const span = this.#count++;
    if (span === this.#capacity) this.#grow();
    const columns = this.#columns;
    columns.names[span] = nameIndex[name];
    columns.steps[span] = this.#step;
    columns.layers[span] = layer;
    columns.rows[span] = rows;
    columns.microBatches[span] = microBatch;
    columns.ends[span] = Number.NaN;
    columns.starts[span] = this.#clock();
    return span;
  }

  end(span: Span): void {
    this.#columns.ends[span] = this.#clock();
  }

  get monotonicEpoch(): number {
    const readings = Array.from({ length: 5 }, () => {
      const before = this.#clock();
      const monotonic = Number(process.hrtime.bigint()) / 1000;
      const after = this.#clock();
      return { apart: after - before, epoch: monotonic - (before + after) / 2 };
    });
    // A thread that is held up between two clocks would shift all spans against each other.
    return readings.reduce((best, each) => (each.apart < best.apart ? each : best)).epoch;
  }

  timesOf(span: Span): { readonly start: Float64Array; readonly end: Float64Array } {
    const { starts, ends } = this.#columns;
    return { start: starts.subarray(span, span + 1), end: ends.subarray(span, span + 1) };
  }

  /** What was recorded since the last take. A span still open was abandoned: its end is NaN. */
  take(): SpanBatch {
    const { names, starts, ends, steps, layers, rows, microBatches } = this.#columns;
    const count = this.#count;
    this.#count = 0;
    return {
      node: this.#node,
      rank: this.#rank,
      names: names.slice(0, count),
      starts: starts.slice(0, count),
      ends: ends.slice(0, count),
      steps: steps.slice(0, count),
      layers: layers.slice(0, count),
      rows: rows.slice(0, count),
      microBatches: microBatches.slice(0, count),
    };
  }

  #grow(): void {
    const full = this.#columns;
    this.#capacity *= 2;
    const columns = createColumns(this.#capacity);
    columns.names.set(full.names);
    columns.starts.set(full.starts);
    columns.ends.set(full.ends);
    columns.steps.set(full.steps);
    columns.layers.set(full.layers);
    columns.rows.set(full.rows);
    columns.microBatches.set(full.microBatches);
    this.#columns = columns;
  }
}

type SpanColumns = Omit<SpanBatch, "node" | "rank">;

const nameIndex = Object.fromEntries(spanNames.map((name, index) => [name, index])) as Record<
  SpanName,
  number
>;

function createColumns(capacity: number): SpanColumns {
  return {
    names: new Uint8Array(capacity),
    starts: new Float64Array(capacity),
    ends: new Float64Array(capacity),
    steps: new Int32Array(capacity),
    layers: new Int16Array(capacity),
    rows: new Int32Array(capacity),
    microBatches: new Int32Array(capacity),
  };
}
