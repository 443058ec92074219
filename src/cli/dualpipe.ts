import { writeFile } from "node:fs/promises";
import type { Command } from "cac";
import {
  bubblesOf,
  compareMethods,
  createPipeline,
  drawSvg,
  drawText,
  executedTimeline,
  makespanOf,
  peakActivations,
  pictureRows,
  type Pipeline,
  pictureDurations,
  runPipeline,
  scheduleOf,
  type Timeline,
  timelineOf,
  verifyRun,
} from "../pipeline/index.ts";
import { TraceWriter } from "../trace/index.ts";
import { integerOf, textOf, UsageError } from "./arguments.ts";
import { table } from "./table.ts";

const largestStages = 256;
const largestMicroBatches = 4096;
const largestThreads = 32;
/** Pixels of a unit of time. */
const SVG_UNIT = 20;

/** What `--trace` trains: large enough that a task takes milliseconds. */
const training = { hidden: 64, rows: 32, seed: 1 };

export function withDualPipe(command: Command): Command {
  return command
    .option("--stages <count>", "Stages of the model, an even number", { default: 8 })
    .option("--micro-batches <count>", "Micro-batches, over both directions", { default: 20 })
    .option("--v", "DualPipeV: half the ranks, one direction that turns round")
    .option("--svg <file>", "Draw the schedule in this file, too")
    .option(
      "--trace <file>",
      "Train MLP stages so, a thread a rank, and write a Chrome trace of it",
    )
    .option("--json", "Print steps with their times as JSON");
}

/** `daysix dualpipe`: DualPipe's schedule, its picture and what it costs; and the schedule run. */
export async function runDualPipe(flags: Readonly<Record<string, unknown>>): Promise<void> {
  const pipeline = pipelineOf(flags);
  const timeline = timelineOf(pipeline, scheduleOf(pipeline));
  const { svg, trace } = flags;
  const executed =
    trace === undefined ? undefined : await traceRun(pipeline, textOf("trace", trace));
  if (svg !== undefined) {
    const rows = pictureRows(timeline, executed);
    const picture = drawSvg(pipeline, rows, makespanOf(timeline) * SVG_UNIT);
    await writeSvg(textOf("svg", svg), picture);
  }
  if (flags["json"] === true) printJson(pipeline, timeline, executed);
  else printTables(pipeline, timeline, executed);
}

/** Trains on threads, and checks that it gave what one rank gives; milliseconds. */
async function traceRun(pipeline: Pipeline, file: string): Promise<Timeline> {
  if (pipeline.ranks > largestThreads) {
    throw new UsageError(
      `--trace: starts a thread for each rank, at most ${largestThreads}, got ${pipeline.ranks} ranks`,
    );
  }
  const writer = await TraceWriter.create(file, Date.now());
  const reports = await runPipeline(pipeline, training, writer.epochMs);
  const spans = reports.map((report) => report.spans);
  for (const batch of spans) writer.write(batch);
  await writer.close();
  verifyRun(pipeline, training, reports);
  return executedTimeline(pipeline, spans);
}

function measure(timeline: Timeline) {
  return {
    makespan: makespanOf(timeline),
    bubbles: bubblesOf(timeline),
    activations: timeline.map((steps) => peakActivations(steps.map(({ tasks }) => tasks))),
  };
}

function printJson(pipeline: Pipeline, timeline: Timeline, executed?: Timeline): void {
  const described = { ...pipeline, durations: pictureDurations, ...measure(timeline) };
  const methods = compareMethods(pipeline.stages);
  console.log(JSON.stringify({ ...described, methods, schedule: timeline, executed }));
}

function printTables(pipeline: Pipeline, timeline: Timeline, executed?: Timeline): void {
  const { makespan, bubbles, activations } = measure(timeline);
  console.log(`${describe(pipeline)}\n\n${drawText(pipeline, timeline)}\n`);
  console.log(
    `takes ${makespan}; each rank waits ${range(bubbles)}, ` +
      `keeps ${range(activations)} activations at most\n`,
  );
  if (executed) {
    console.log(
      `run on ${pipeline.ranks} threads in ${makespanOf(executed).toFixed(0)} ms, in this order; ` +
        "every stage's gradients are those of one rank, bit for bit\n",
    );
  }
  const rows = compareMethods(pipeline.stages).map((cost) => [
    cost.method,
    String(cost.bubble),
    `${cost.parameters}×`,
    String(cost.activations),
    String(cost.ranks),
  ]);
  const header = [`${pipeline.stages} stages`, "bubble", "parameters", "activations", "ranks"];
  console.log(table([header, ...rows]));
}

/** The sizes' own messages name the option. */
function pipelineOf(flags: Readonly<Record<string, unknown>>): Pipeline {
  const stages = integerOf("stages", flags["stages"], 2, largestStages);
  const microBatches = integerOf("micro-batches", flags["microBatches"], 1, largestMicroBatches);
  try {
    return createPipeline(flags["v"] === true ? "DualPipeV" : "DualPipe", stages, microBatches);
  } catch (error) {
    throw new UsageError(`--${(error as RangeError).message}`);
  }
}

async function writeSvg(file: string, picture: string): Promise<void> {
  try {
    await writeFile(file, picture);
  } catch (error) {
    throw new UsageError(`--svg: ${file} cannot be written (${(error as Error).message})`);
  }
}

function describe({ method, stages, ranks, directions, microBatches }: Pipeline): string {
  const { F, B, W, "F&B": pair } = pictureDurations;
  const batches =
    directions === 2 ? `${microBatches} micro-batches each way` : `${microBatches} micro-batches`;
  const small = directions === 2 ? "the other direction" : "on the way back";
  return (
    `${method}: ${stages} stages on ${ranks} ranks, ${batches}\n` +
    `F forward ${F}, B backward ${B}, I backward for inputs ${B - W}, ` +
    `W backward for weights ${W}, an overlapped F&B ${pair}; small letters: ${small}`
  );
}

function range(values: readonly number[]): string {
  const [least, most] = [Math.min(...values), Math.max(...values)];
  return least === most ? `${most}` : `${least} to ${most}`;
}
