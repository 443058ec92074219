import type { Pipeline } from "./pipeline.ts";
import type { Schedule, Step, Task } from "./schedule.ts";

/** Of a step; B is the whole backward, so that I takes B − W. */
export interface Durations {
  readonly F: number;
  readonly B: number;
  readonly W: number;
  readonly "F&B": number;
}

/** Those of the published picture. */
export const pictureDurations: Durations = { F: 1, B: 2, W: 1, "F&B": 3 };

export interface TimedStep {
  readonly tasks: Step;
  readonly start: number;
  readonly end: number;
}

/** Each rank's steps, in order. */
export type Timeline = readonly (readonly TimedStep[])[];

/**
 * When each step runs if every rank takes its steps in order, each as soon as what it needs is
 * there. Communication takes no time.
 */
export function timelineOf(
  pipeline: Pipeline,
  schedule: Schedule,
  durations: Durations = pictureDurations,
): Timeline {
  const ends = new TaskEnds(pipeline);
  const timeline: TimedStep[][] = schedule.map(() => []);
  let waiting = schedule.map((_, rank) => rank);
  while (waiting.length > 0) {
    const before = ends.known;
    for (const rank of waiting) runOn(ends, schedule[rank], timeline[rank], durations);
    if (ends.known === before) throw new Error(`ranks ${waiting.join(", ")} wait for each other`);
    waiting = waiting.filter((rank) => timeline[rank].length < schedule[rank].length);
  }
  return timeline;
}

/** Takes a rank's steps up to one that needs what is not yet known. */
function runOn(
  ends: TaskEnds,
  steps: readonly Step[],
  timed: TimedStep[],
  durations: Durations,
): void {
  while (timed.length < steps.length) {
    const tasks = steps[timed.length];
    const ready = Math.max(...tasks.map((task) => ends.neededBy(task)));
    if (ready === Infinity) return;
    const start = Math.max(ready, timed.at(-1)?.end ?? 0);
    const end = start + durationOf(tasks, durations);
    for (const task of tasks) ends.set(task, end);
    timed.push({ tasks, start, end });
  }
}

/** When outputs, and gradients of inputs, are there. */
class TaskEnds {
  known = 0;
  readonly #pipeline: Pipeline;
  /** Infinity: not yet known. */
  readonly #ends: Float64Array;

  constructor(pipeline: Pipeline) {
    this.#pipeline = pipeline;
    const { directions, stages, microBatches } = pipeline;
    this.#ends = new Float64Array(2 * directions * stages * microBatches).fill(Infinity);
  }

  set(task: Task, end: number): void {
    this.known++;
    if (task.kind !== "W") this.#ends[this.#index(task, task.kind === "F")] = end;
  }

  /** When a task can begin; W follows its I on the same rank. */
  neededBy(task: Task): number {
    const { kind, stage } = task;
    const last = this.#pipeline.stages - 1;
    if (kind === "W" || (kind === "F" && stage === 0)) return 0;
    if (kind === "F") return this.#ends[this.#index({ ...task, stage: stage - 1 }, true)];
    if (stage === last) return this.#ends[this.#index(task, true)];
    return this.#ends[this.#index({ ...task, stage: stage + 1 }, false)];
  }

  #index({ direction, stage, microBatch }: Task, isForward: boolean): number {
    const { stages, microBatches } = this.#pipeline;
    return ((direction * stages + stage) * microBatches + microBatch) * 2 + (isForward ? 0 : 1);
  }
}

function durationOf(tasks: Step, durations: Durations): number {
  if (tasks.length === 2) return durations["F&B"];
  const [{ kind }] = tasks;
  return kind === "I" ? durations.B - durations.W : durations[kind];
}

/** From the first step of any rank to the last. */
export function makespanOf(timeline: Timeline): number {
  return Math.max(...timeline.map((steps) => steps.at(-1)?.end ?? 0));
}

/** Time of each rank without a step. */
export function bubblesOf(timeline: Timeline): number[] {
  const makespan = makespanOf(timeline);
  return timeline.map((steps) =>
    steps.reduce((idle, { start, end }) => idle - (end - start), makespan),
  );
}

/** The most inputs of a stage that a rank keeps at a time: from F until their backward, B or W, is done. */
export function peakActivations(steps: readonly Step[]): number {
  let live = 0;
  let peak = 0;
  for (const { kind } of steps.flat()) {
    if (kind === "F") live++;
    if (kind === "B" || kind === "W") live--;
    peak = Math.max(peak, live);
  }
  return peak;
}
