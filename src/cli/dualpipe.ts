import { writeFile } from "node:fs/promises";
import type { Command } from "cac";
import {
  bubblesOf,
  compareMethods,
  createPipeline,
  drawSvg,
  drawText,
  makespanOf,
  peakActivations,
  type Pipeline,
  pictureDurations,
  scheduleOf,
  scheduleRows,
  timelineOf,
} from "../pipeline/index.ts";
import { integerOf, textOf, UsageError } from "./arguments.ts";
import { table } from "./table.ts";

const largestStages = 256;
const largestMicroBatches = 4096;
/** Pixels of a unit of time. */
const SVG_UNIT = 20;

export function withDualPipe(command: Command): Command {
  return command
    .option("--stages <count>", "Stages of the model, an even number", { default: 8 })
    .option("--micro-batches <count>", "Micro-batches, over both directions", { default: 20 })
    .option("--v", "DualPipeV: half the ranks, one direction that turns round")
    .option("--svg <file>", "Draw the schedule in this file, too")
    .option("--json", "Print steps with their times as JSON");
}

/** `daysix dualpipe`: DualPipe's schedule, its picture and what it costs. */
export async function runDualPipe(flags: Readonly<Record<string, unknown>>): Promise<void> {
  const pipeline = pipelineOf(flags);
  const timeline = timelineOf(pipeline, scheduleOf(pipeline));
  const svg = flags["svg"];
  if (svg !== undefined) {
    const picture = drawSvg(pipeline, scheduleRows(timeline), makespanOf(timeline) * SVG_UNIT);
    await writeSvg(textOf("svg", svg), picture);
  }
  const measures = {
    makespan: makespanOf(timeline),
    bubbles: bubblesOf(timeline),
    activations: timeline.map((steps) => peakActivations(steps.map(({ tasks }) => tasks))),
  };
  const methods = compareMethods(pipeline.stages);
  if (flags["json"] === true) {
    const described = { ...pipeline, durations: pictureDurations, ...measures };
    console.log(JSON.stringify({ ...described, methods, schedule: timeline }));
    return;
  }
  console.log(`${describe(pipeline)}\n\n${drawText(pipeline, timeline)}\n`);
  console.log(
    `takes ${measures.makespan}; each rank waits ${range(measures.bubbles)}, ` +
      `keeps ${range(measures.activations)} activations at most\n`,
  );
  const rows = methods.map((cost) => [
    cost.method,
    String(cost.bubble),
    `${cost.parameters}×`,
    String(cost.activations),
    String(cost.ranks),
  ]);
  console.log(
    table([[`${pipeline.stages} stages`, "bubble", "parameters", "activations", "ranks"], ...rows]),
  );
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
