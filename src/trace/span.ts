/** A rank computes, and speaks with other ranks, often at once; else it waits: a track for each. */
export const tracks = ["compute", "communication", "waiting"] as const;

export type Track = (typeof tracks)[number];

/** The track that a span's time counts for. A step contains other spans and counts for neither track. */
export type Activity = Track | "step";

/**
 * Spans by name, in the order of a layer. ATTN, SHARED, MLP, DISPATCH and COMBINE are the stages of
 * DeepSeek's day 6 ("inference system overview", the figures of overlap), which draw GATE as the
 * end of ATTN and REDUCE as that of COMBINE.
 */
const activities = {
  /** One forward pass and its sampling. */
  STEP: "step",
  /** Tokens to rows. */
  EMBED: "compute",
  /** A block's attention half: norm, latent attention, residual, the feed-forward's norm. */
  ATTN: "compute",
  /** The router: scores, choice of experts, rows rounded as they travel. */
  GATE: "compute",
  /** Rows to the ranks of their experts. */
  DISPATCH: "communication",
  /** The routed experts, or a dense layer. */
  MLP: "compute",
  /** Expert rows back to the ranks of their tokens. */
  COMBINE: "communication",
  /** Expert rows added up on their token's rank, by weight; DeepEP's combine does it, too. */
  REDUCE: "compute",
  /** The shared expert. */
  SHARED: "compute",
  /** Final norm and logits. */
  HEAD: "compute",
  /** Tokens chosen from logits. */
  SAMPLE: "compute",
  /** Of a pipeline: forward, whole backward, its halves for inputs and weights. The layer is the stage. */
  F: "compute",
  B: "compute",
  I: "compute",
  W: "compute",
  /** A rank waits for what its neighbours in a pipeline send. */
  PP: "communication",
  /** A rank has nothing to do, since something is still to come. Of all that is, the span names one. */
  REQUESTS: "waiting",
  /** The other ranks of the unit, which step together. */
  UNIT: "waiting",
  /** Which tokens may come next in a constrained answer. */
  MASK: "waiting",
  /** Room in the pool. */
  PAGES: "waiting",
  /** KV from a prefill rank, or a decode rank's room for it. */
  KV: "waiting",
  /** Blocks from the context cache. */
  STORE: "waiting",
  /** The gateway, which has not yet read what the rank has told. */
  READER: "waiting",
} as const satisfies Record<string, Activity>;

export type SpanName = keyof typeof activities;

/** What a rank waits for. */
export type WaitName = {
  [Name in SpanName]: (typeof activities)[Name] extends "waiting" ? Name : never;
}[SpanName];

export const spanNames = Object.keys(activities) as readonly SpanName[];

export function activityOf(name: SpanName): Activity {
  return activities[name];
}

/** The layer of a span that belongs to no layer. */
export const NO_LAYER = -1;

/** A span of any profiler, as the analysis wants it. */
export interface TracedSpan {
  readonly rank: string;
  readonly activity: Activity;
  /** A span's name, or the name in a profiler's events. */
  readonly kind: string;
  /** Microseconds since any moment that is the trace's own. */
  readonly start: number;
  readonly end: number;
  readonly layer?: number;
}

/** Spans of one rank, in the order they began, as columns of equal length: cheap to post. */
export interface SpanBatch {
  readonly node: number;
  /** Unique on its node. */
  readonly rank: number;
  /** Index into `spanNames`. */
  readonly names: Uint8Array;
  /** Microseconds since the trace's epoch. */
  readonly starts: Float64Array;
  /** Microseconds since the trace's epoch; NaN where an error kept the span from ending. */
  readonly ends: Float64Array;
  readonly steps: Int32Array;
  /** NO_LAYER for spans of no layer. */
  readonly layers: Int16Array;
  readonly rows: Int32Array;
  readonly microBatches: Int32Array;
}
