import { intersect, lengthOf, subtract, union, type Interval } from "./intervals.ts";
import { spanNames, type TracedSpan, type Track } from "./span.ts";

/** Times are microseconds. */
export interface TraceAnalysis {
  readonly steps: number;
  readonly ranks: readonly RankTimes[];
  /** Longest first. */
  readonly kinds: readonly KindTimes[];
  /** In order; empty where spans do not say their layer. */
  readonly layers: readonly LayerTimes[];
}

export interface RankTimes {
  readonly rank: string;
  /** The time analysed: the rank's steps and what it waited, or first start to last end if no steps are recorded. */
  readonly window: number;
  /** Time in which anything is computed; what overlaps counts once. */
  readonly compute: number;
  /** Time in which any communication is under way. */
  readonly communication: number;
  /** Communication while the rank computes, and the rest. */
  readonly covered: number;
  readonly exposed: number;
  /** covered / communication; null without communication. */
  readonly coveredShare: number | null;
  /** Part of the window without computation and without communication. */
  readonly idle: number;
  /** Parts of the idle time by what was waited for, longest first; the rest has no name. */
  readonly waits: readonly { readonly kind: string; readonly idle: number }[];
}

type Busy = Exclude<Track, "waiting">;

/** Spans of one kind over all ranks and layers. */
export interface KindTimes extends SpanTimes {
  readonly track: Busy;
  /** Of communication: as for a rank, summed over ranks. */
  readonly covered?: number;
  readonly exposed?: number;
}

export interface SpanTimes {
  readonly kind: string;
  readonly spans: number;
  /** Sum of durations. */
  readonly total: number;
}

/** Spans of one layer over all ranks and steps, in a layer's order. */
export interface LayerTimes {
  readonly layer: number;
  readonly kinds: readonly SpanTimes[];
}

/** Where a trace's time went, and how much of its communication hides behind computation. */
export function analyse(spans: readonly TracedSpan[]): TraceAnalysis {
  const ranks = [...groupBy(spans, ({ rank }) => rank)].map(
    ([rank, own]) => new RankSpans(rank, own),
  );
  return {
    steps: ranks.reduce((most, { steps }) => Math.max(most, steps.length), 0),
    ranks: ranks.map((rank) => rank.times()),
    kinds: [...kindsOf(ranks, "compute"), ...kindsOf(ranks, "communication")].toSorted(
      (a, b) => b.total - a.total,
    ),
    layers: layersOf(spans),
  };
}

/** One rank's spans by activity. */
class RankSpans {
  readonly rank: string;
  readonly steps: readonly TracedSpan[];
  readonly tracks: Readonly<Record<Track, readonly TracedSpan[]>>;
  readonly computing: readonly Interval[];

  constructor(rank: string, spans: readonly TracedSpan[]) {
    const of = (activity: string) => spans.filter((span) => span.activity === activity);
    this.rank = rank;
    this.steps = of("step");
    this.tracks = {
      compute: of("compute"),
      communication: of("communication"),
      waiting: of("waiting"),
    };
    this.computing = union(this.tracks.compute);
  }

  times(): RankTimes {
    const { computing } = this;
    const communicating = union(this.tracks.communication);
    const window = this.#window();
    const busy = union([...computing, ...communicating]);
    const communication = lengthOf(communicating);
    const covered = lengthOf(intersect(communicating, computing));
    const idle = subtract(window, busy);
    return {
      rank: this.rank,
      window: lengthOf(window),
      compute: lengthOf(computing),
      communication,
      covered,
      exposed: communication - covered,
      coveredShare: communication === 0 ? null : covered / communication,
      idle: lengthOf(idle),
      waits: this.#waits(idle),
    };
  }

  #waits(idle: readonly Interval[]): RankTimes["waits"] {
    return [...groupBy(this.tracks.waiting, ({ kind }) => kind)]
      .map(([kind, spans]) => ({ kind, idle: lengthOf(intersect(union(spans), idle)) }))
      .toSorted((a, b) => b.idle - a.idle);
  }

  #window(): Interval[] {
    if (this.steps.length > 0) return union([...this.steps, ...this.tracks.waiting]);
    const busy = union([...this.tracks.compute, ...this.tracks.communication]);
    const [first] = busy;
    const last = busy.at(-1);
    return first && last ? [{ start: first.start, end: last.end }] : [];
  }
}

function kindsOf(ranks: readonly RankSpans[], track: Busy): KindTimes[] {
  const spans = ranks.flatMap((rank) => rank.tracks[track]);
  const kinds = [...groupBy(spans, ({ kind }) => kind)].map(([, own]) => timesOf(own));
  if (track === "compute") return kinds.map((times) => ({ ...times, track }));
  return kinds.map((times) => ({ ...times, track, ...coverageOf(ranks, times.kind) }));
}

function coverageOf(ranks: readonly RankSpans[], kind: string) {
  let length = 0;
  let covered = 0;
  for (const { tracks, computing } of ranks) {
    const under = union(tracks.communication.filter((span) => span.kind === kind));
    length += lengthOf(under);
    covered += lengthOf(intersect(under, computing));
  }
  return { covered, exposed: length - covered };
}

function layersOf(spans: readonly TracedSpan[]): LayerTimes[] {
  const inLayers = spans.filter(({ layer }) => layer !== undefined);
  const place = ({ kind }: SpanTimes) => (spanNames as readonly string[]).indexOf(kind);
  return [...groupBy(inLayers, ({ layer }) => layer ?? -1)]
    .map(([layer, own]) => ({
      layer,
      kinds: [...groupBy(own, ({ kind }) => kind)]
        .map(([, sameKind]) => timesOf(sameKind))
        .toSorted((a, b) => place(a) - place(b)),
    }))
    .toSorted((a, b) => a.layer - b.layer);
}

/** Times of spans of one kind. */
function timesOf(spans: readonly TracedSpan[]): SpanTimes {
  const total = spans.reduce((sum, { start, end }) => sum + (end - start), 0);
  return { kind: spans[0].kind, spans: spans.length, total };
}

function groupBy<T, K>(items: readonly T[], keyOf: (item: T) => K): Map<K, T[]> {
  const groups = new Map<K, T[]>();
  for (const item of items) {
    const key = keyOf(item);
    const group = groups.get(key);
    if (group) group.push(item);
    else groups.set(key, [item]);
  }
  return groups;
}
