import type { Pipeline } from "./pipeline.ts";
import type { Task, TaskKind } from "./schedule.ts";
import { makespanOf, type TimedStep, type Timeline } from "./timeline.ts";

/** The other direction, or the way back: drawn in small letters and pale colours. */
function isOther({ directions, stages }: Pipeline, { direction, stage }: Task): boolean {
  return directions === 2 ? direction === 1 : stage >= stages / 2;
}

/** One line a rank; a unit of time is as wide as the longest name of a task, and a space. */
export function drawText(pipeline: Pipeline, timeline: Timeline): string {
  const nameOf = (task: Task) =>
    `${isOther(pipeline, task) ? task.kind.toLowerCase() : task.kind}${task.microBatch}`;
  const unit = `F${pipeline.microBatches - 1} `.length;
  const margin = `rank ${pipeline.ranks - 1}  `.length;
  const lines = timeline.map((steps, rank) => {
    let line = `rank ${rank}`;
    for (const { tasks, start, end } of steps) {
      const width = Math.round(end * unit) - Math.round(start * unit) - 1;
      const name = tasks.map(nameOf).join("&").padEnd(width, "─");
      line = line.padEnd(margin + Math.round(start * unit)) + name;
    }
    return line;
  });
  return lines.join("\n");
}

const colours: Readonly<Record<TaskKind, { readonly full: string; readonly pale: string }>> = {
  F: { full: "#f2b134", pale: "#fbe3ab" },
  B: { full: "#5aa469", pale: "#bfe0c5" },
  I: { full: "#4fb3bf", pale: "#bde4e8" },
  W: { full: "#5b8bd0", pale: "#c3d5ef" },
};

const legend: readonly (readonly [TaskKind, string])[] = [
  ["F", "forward"],
  ["B", "backward"],
  ["I", "backward for inputs"],
  ["W", "backward for weights"],
];

/** Steps of a rank, or what it did when the schedule was run, on a scale of its own. */
export interface PictureRow {
  readonly label: string;
  readonly steps: readonly TimedStep[];
  /** The end of the row's scale. */
  readonly end: number;
}

/** A row for each rank; below it what the rank did in a run, if one is given. */
export function pictureRows(timeline: Timeline, executed?: Timeline): PictureRow[] {
  const end = makespanOf(timeline);
  return timeline.flatMap((steps, rank) => {
    const row = { label: `rank ${rank}`, steps, end };
    if (!executed) return [row];
    return [row, { label: "as run", steps: executed[rank], end: makespanOf(executed) }];
  });
}

const ROW = 22;
const MARGIN = 56;
/** Wide enough for one. */
const DIGIT = 7;

/** An SVG `width` pixels wide, margins apart. Overlapped pairs lie in one black frame. */
export function drawSvg(pipeline: Pipeline, rows: readonly PictureRow[], width: number): string {
  const height = (rows.length + 2) * ROW;
  const fullWidth = width + MARGIN + 8;
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${fullWidth} ${height}" ` +
      `width="${fullWidth}" height="${height}" font-family="sans-serif" font-size="11">`,
    `<rect width="100%" height="100%" fill="white"/>`,
    ...rows.flatMap((row, i) => rowShapes(pipeline, row, 4 + i * ROW, width)),
    ...legendShapes(pipeline, (rows.length + 0.5) * ROW),
    "</svg>\n",
  ].join("\n");
}

function rowShapes(
  pipeline: Pipeline,
  { label, steps, end: scale }: PictureRow,
  top: number,
  width: number,
): string[] {
  const x = (time: number) => MARGIN + (time / scale) * width;
  const cell = (task: Task, from: number, to: number) =>
    taskShapes(pipeline, task, x(from), x(to), top);
  const cells = steps.flatMap(({ tasks: [first, second], start, end }) => {
    if (!second) return cell(first, start, end);
    // A backward is drawn twice as long as the forward beside it.
    const middle = start + (end - start) / 3;
    return [...cell(first, start, middle), ...cell(second, middle, end)];
  });
  const frames = steps
    .filter(({ tasks }) => tasks.length === 2)
    .map(({ start, end }) => rectangle(x(start), x(end), top, "none", "black"));
  return [text(4, top, label), ...cells, ...frames];
}

function taskShapes(pipeline: Pipeline, task: Task, from: number, to: number, top: number) {
  const colour = colours[task.kind][isOther(pipeline, task) ? "pale" : "full"];
  const number = String(task.microBatch);
  const cell = rectangle(from, to, top, colour, "white");
  if (to - from < number.length * DIGIT) return [cell];
  return [cell, text((from + to) / 2, top, number, "middle")];
}

function legendShapes({ directions }: Pipeline, top: number): string[] {
  const other = directions === 2 ? "the other direction" : "on the way back";
  const shapes = legend.flatMap(([kind, name], i) => {
    const left = MARGIN + i * 160;
    return [
      rectangle(left, left + 18, top, colours[kind].full, "white"),
      text(left + 24, top, name),
    ];
  });
  const left = MARGIN + legend.length * 160;
  return [
    ...shapes,
    text(left, top, `pale: ${other}`),
    rectangle(left + 160, left + 178, top, "none", "black"),
    text(left + 184, top, "overlapped"),
  ];
}

const pixels = (x: number) => String(Math.round(x * 100) / 100);

function rectangle(from: number, to: number, top: number, fill: string, stroke: string): string {
  return (
    `<rect x="${pixels(from)}" y="${pixels(top)}" width="${pixels(to - from)}" ` +
    `height="${ROW - 4}" fill="${fill}" stroke="${stroke}"/>`
  );
}

function text(x: number, top: number, content: string, anchor = "start"): string {
  return `<text x="${pixels(x)}" y="${pixels(top + ROW - 9)}" text-anchor="${anchor}">${content}</text>`;
}
