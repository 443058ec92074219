import {
  analyse,
  readTrace,
  spanNames,
  TraceWriter,
  type TraceAnalysis,
  type WaitName,
} from "../trace/index.ts";
import { table } from "./table.ts";

/** Kernels of a profiler's trace can be of hundreds of kinds; JSON has them all. */
const SHOWN_KINDS = 20;

/** The file of `--trace`, if one is wanted. */
export async function createTrace(file: string | undefined): Promise<TraceWriter | undefined> {
  return file === undefined ? undefined : TraceWriter.create(file, Date.now());
}

/** `daysix trace`: per-layer times, and how much communication hides behind computation. */
export async function printTrace(options: {
  readonly file: string;
  readonly json: boolean;
}): Promise<void> {
  const { file, json } = options;
  const { source, cut, spans } = await readTrace(file);
  const analysis = analyse(spans);
  if (json) {
    console.log(JSON.stringify({ file, source, cut, ...analysis }, null, 2));
    return;
  }
  const steps = analysis.steps > 0 ? `, steps: ${analysis.steps}` : "";
  console.log(`${file}: ${source}, spans: ${spans.length}${steps}`);
  if (cut) console.log("The file was cut: what follows is of its whole events.");
  const tables = [rankRows(analysis), waitRows(analysis), kindRows(analysis), layerRows(analysis)];
  for (const rows of tables) if (rows.length > 1) console.log(`\n${table(rows)}`);
}

function rankRows({ ranks }: TraceAnalysis): string[][] {
  return [
    ["ms", "window", "compute", "communication", "covered", "share", "exposed", "idle"],
    ...ranks.map((times) => [
      times.rank,
      milliseconds(times.window),
      milliseconds(times.compute),
      milliseconds(times.communication),
      milliseconds(times.covered),
      share(times.coveredShare),
      milliseconds(times.exposed),
      milliseconds(times.idle),
    ]),
  ];
}

const waitNames: Readonly<Record<WaitName, string>> = {
  REQUESTS: "requests",
  UNIT: "other ranks",
  MASK: "mask",
  PAGES: "pages",
  KV: "KV",
  STORE: "store",
  READER: "reader",
};

/** What each rank waited for while it was idle: a column for each thing that any waited for. */
function waitRows({ ranks }: TraceAnalysis): string[][] {
  const idleFor = (times: (typeof ranks)[number], kind: string) =>
    times.waits.find((wait) => wait.kind === kind)?.idle ?? 0;
  const kinds = (Object.keys(waitNames) as WaitName[]).filter((kind) =>
    ranks.some((times) => idleFor(times, kind) > 0),
  );
  if (kinds.length === 0) return [];
  return [
    ["ms idle, waiting for", ...kinds.map((kind) => waitNames[kind]), "else"],
    ...ranks.map((times) => {
      const named = kinds.reduce((sum, kind) => sum + idleFor(times, kind), 0);
      const waits = kinds.map((kind) => milliseconds(idleFor(times, kind)));
      return [times.rank, ...waits, milliseconds(Math.max(0, times.idle - named))];
    }),
  ];
}

function kindRows({ kinds }: TraceAnalysis): string[][] {
  const rows = kinds
    .slice(0, SHOWN_KINDS)
    .map((times) => [
      times.kind,
      times.track,
      String(times.spans),
      milliseconds(times.total),
      milliseconds(times.total / times.spans),
      times.exposed === undefined ? "" : milliseconds(times.exposed),
    ]);
  const more = kinds.length - rows.length;
  return [
    ["ms", "track", "spans", "total", "mean", "exposed"],
    ...rows,
    ...(more > 0 ? [[`${more} more kinds`]] : []),
  ];
}

/** Mean time of a span: a column for each name that any layer has. */
function layerRows({ layers }: TraceAnalysis): string[][] {
  const present = new Set(layers.flatMap((layer) => layer.kinds.map(({ kind }) => kind)));
  const kinds = spanNames.filter((name) => present.has(name));
  return [
    ["mean ms", ...kinds],
    ...layers.map((layer) => [
      `layer ${layer.layer}`,
      ...kinds.map((kind) => {
        const times = layer.kinds.find((each) => each.kind === kind);
        return times ? milliseconds(times.total / times.spans) : "";
      }),
    ]),
  ];
}

function milliseconds(microseconds: number): string {
  return (microseconds / 1000).toFixed(3);
}

function share(part: number | null): string {
  return part === null ? "-" : `${(part * 100).toFixed(1)} %`;
}
