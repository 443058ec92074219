import {
  activityOf,
  NO_LAYER,
  spanNames,
  tracks,
  type Activity,
  type SpanBatch,
  type TracedSpan,
} from "./span.ts";

/**
 * A complete event ("ph": "X") of the Trace Event Format, which chrome://tracing, Perfetto and the
 * PyTorch profiler speak. `ts` and `dur` are microseconds.
 */
export interface CompleteEvent {
  readonly ph: "X";
  readonly name: string;
  readonly cat: string;
  readonly pid: number | string;
  readonly tid: number | string;
  readonly ts: number;
  readonly dur: number;
  readonly args?: Readonly<Record<string, unknown>>;
}

/** A node is a process; a track of a rank is a thread of it, and a step lies on the first. */
const threadOf = (rank: number, activity: Activity) =>
  rank * tracks.length + (activity === "step" ? 0 : tracks.indexOf(activity));
const rankOf = (thread: number) => Math.floor(thread / tracks.length);

/** A node's name for viewers. */
export function nodeEvents(node: number): string[] {
  return [metadata("process_name", node, 0, { name: `node ${node}` })];
}

/** Names and order of a rank's tracks for viewers. */
export function rankEvents(node: number, rank: number): string[] {
  return tracks.flatMap((track) => {
    const thread = threadOf(rank, track);
    return [
      metadata("thread_name", node, thread, { name: `rank ${rank} ${track}` }),
      metadata("thread_sort_index", node, thread, { sort_index: thread }),
    ];
  });
}

function metadata(name: string, pid: number, tid: number, args: object): string {
  return JSON.stringify({ ph: "M", name, pid, tid, args });
}

/** One JSON object for each span that ended. */
export function spanEvents(batch: SpanBatch): string[] {
  const events: string[] = [];
  for (let i = 0; i < batch.names.length; i++) {
    if (Number.isNaN(batch.ends[i])) continue;
    events.push(spanEvent(batch, i));
  }
  return events;
}

function spanEvent(batch: SpanBatch, i: number): string {
  const name = spanNames[batch.names[i]];
  const activity = activityOf(name);
  const layer = batch.layers[i] === NO_LAYER ? "" : `"layer":${batch.layers[i]},`;
  // Both ends are rounded before subtracting, so that spans which touch or nest still do.
  const start = Math.round(batch.starts[i] * 1000);
  const end = Math.round(batch.ends[i] * 1000);
  return (
    `{"ph":"X","name":"${name}","cat":"${activity}",` +
    `"pid":${batch.node},"tid":${threadOf(batch.rank, activity)},` +
    `"ts":${start / 1000},"dur":${(end - start) / 1000},` +
    `"args":{${layer}"step":${batch.steps[i]},"rows":${batch.rows[i]},` +
    `"microBatch":${batch.microBatches[i]}}}`
  );
}

/** The span of an event that `spanEvents` wrote; undefined for events of others. */
export function spanOf(event: CompleteEvent): TracedSpan | undefined {
  const { cat, name, pid, tid, ts, dur, args } = event;
  if (!isActivity(cat) || typeof tid !== "number") return undefined;
  const layer = args?.["layer"];
  return {
    rank: `node ${pid} rank ${rankOf(tid)}`,
    activity: cat,
    kind: name,
    start: ts,
    end: ts + dur,
    ...(typeof layer === "number" ? { layer } : {}),
  };
}

function isActivity(category: string): category is Activity {
  return category === "step" || tracks.some((track) => track === category);
}
