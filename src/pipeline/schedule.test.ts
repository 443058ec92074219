import assert from "node:assert/strict";
import { test } from "node:test";
import { compareMethods } from "./comparison.ts";
import { createPipeline, type Method, methods, type Pipeline, rankOf } from "./pipeline.ts";
import { type Schedule, scheduleOf, type Task } from "./schedule.ts";
import { bubblesOf, makespanOf, peakActivations, timelineOf, type Timeline } from "./timeline.ts";

/** Every method with 2 to 20 stages and the ten least numbers of micro-batches: 200 pairs of sizes. */
const pipelines = methods.flatMap((method) =>
  Array.from({ length: 100 }, (_, i) => {
    const stages = 2 + 2 * Math.floor(i / 10);
    const inEachDirection = stages + (i % 10);
    return createPipeline(method, stages, inEachDirection * (method === "DualPipe" ? 2 : 1));
  }),
);

const placeOf = ({ direction, stage, microBatch }: Task) => `${direction}/${stage}/${microBatch}`;

/** Start and end of every task, by kind (the backward's halves apart: B is I and W) and place. */
function taskTimes(timeline: Timeline) {
  const times = new Map<string, { readonly start: number; readonly end: number }>();
  for (const { tasks, start, end } of timeline.flat()) {
    for (const task of tasks) {
      for (const kind of task.kind === "B" ? ["I", "W"] : [task.kind]) {
        const name = `${kind} ${placeOf(task)}`;
        assert.ok(!times.has(name), `${name} is done twice`);
        times.set(name, { start, end });
      }
    }
  }
  return times;
}

/** Every micro-batch at every stage of its direction. */
function placesOf({ directions, stages, microBatches }: Pipeline): Task[] {
  return Array.from({ length: directions * stages * microBatches }, (_, i) => ({
    kind: "F" as const,
    direction: Math.floor(i / (stages * microBatches)),
    stage: Math.floor(i / microBatches) % stages,
    microBatch: i % microBatches,
  }));
}

test("each micro-batch goes once forward and once backward through all stages, in order", () => {
  for (const pipeline of pipelines) {
    const times = taskTimes(timelineOf(pipeline, scheduleOf(pipeline)));
    const time = (kind: string, task: Task) => {
      const found = times.get(`${kind} ${placeOf(task)}`);
      assert.ok(found, `${kind} ${placeOf(task)} is not done`);
      return found;
    };
    const places = placesOf(pipeline);
    for (const place of places) {
      const forward = time("F", place);
      const backward = time("I", place);
      assert.ok(backward.start >= forward.end);
      assert.ok(time("W", place).end >= backward.end);
      if (place.stage === 0) continue;
      const before = { ...place, stage: place.stage - 1 };
      assert.ok(forward.start >= time("F", before).end);
      assert.ok(time("I", before).start >= backward.end);
    }
    assert.equal(times.size, 3 * places.length, "nothing else is done");
  }
});

test("a rank does one thing at a time, or an F and a B that do not need each other", () => {
  for (const pipeline of pipelines) {
    for (const [rank, steps] of timelineOf(pipeline, scheduleOf(pipeline)).entries()) {
      let free = 0;
      for (const { tasks, start, end } of steps) {
        assert.ok(start >= free && end > start);
        free = end;
        const kinds = tasks.map(({ kind }) => kind).join("&");
        assert.ok(["F", "B", "I", "W", "F&B"].includes(kinds), kinds);
        assert.ok(tasks.every((task) => rankOf(pipeline, task) === rank));
        assert.equal(new Set(tasks.map(({ stage }) => stage)).size, tasks.length);
      }
    }
  }
});

test("a stage adds its weights' gradients in the order of its micro-batches", () => {
  for (const pipeline of pipelines) {
    for (const steps of scheduleOf(pipeline)) {
      const done = [0, 0];
      for (const { kind, stage, microBatch } of steps.flat()) {
        if (kind !== "B" && kind !== "W") continue;
        assert.equal(microBatch, done[stage < pipeline.stages / 2 ? 0 : 1]++);
      }
    }
  }
});

test("every rank waits and keeps what DeepSeek's table says, whatever the sizes", () => {
  for (const pipeline of pipelines) {
    const schedule = scheduleOf(pipeline);
    const { method, stages, ranks } = pipeline;
    const cost = compareMethods(stages).find((other) => other.method === method);
    assert.ok(cost);
    assert.equal(ranks, cost.ranks);
    assert.deepEqual(
      bubblesOf(timelineOf(pipeline, schedule)),
      Array.from({ length: ranks }, () => cost.bubble),
    );
    assert.deepEqual(
      schedule.map(peakActivations),
      Array.from(schedule, () => cost.activations),
    );
  }
});

test("8 and 16 stages cost what the published formulas give", () => {
  const costs = (stages: number) =>
    compareMethods(stages).map(({ method, bubble, parameters, activations, ranks }) =>
      [method, bubble, `${parameters}x`, activations, ranks].join(" "),
    );
  assert.deepEqual(costs(8), [
    "1F1B 21 1x 8 8",
    "ZB1P 7 1x 8 8",
    "DualPipe 6 2x 9 8",
    "DualPipeV 6 2x 9 4",
  ]);
  assert.deepEqual(costs(16), [
    "1F1B 45 1x 16 16",
    "ZB1P 15 1x 16 16",
    "DualPipe 14 2x 17 16",
    "DualPipeV 14 2x 17 8",
  ]);
});

test("the published sizes take the time of the published picture", () => {
  const lengthOf = (method: Method, stages: number, microBatches: number) => {
    const pipeline = createPipeline(method, stages, microBatches);
    return makespanOf(timelineOf(pipeline, scheduleOf(pipeline)));
  };
  assert.equal(lengthOf("DualPipe", 8, 20), 66);
  assert.equal(lengthOf("DualPipeV", 8, 10), 66);
  assert.equal(lengthOf("DualPipe", 16, 40), 134);
});

test("where a pair takes less than its parts, the ranks in the middle wait the formula's time", () => {
  const durations = { F: 1, B: 2, W: 1, "F&B": 2.4 };
  const pipeline = createPipeline("DualPipeV", 8, 10);
  const bubbles = bubblesOf(timelineOf(pipeline, scheduleOf(pipeline), durations));
  const rounded = (value: number) => value.toFixed(3);
  assert.deepEqual(bubbles.map(rounded), ["3.000", "3.600", "4.200", "4.200"]);
  assert.equal(rounded(compareMethods(8, durations)[3].bubble), "4.200");
});

test("sizes without a schedule are refused with the numbers", () => {
  const refused = (method: Method, stages: number, microBatches: number, message: string) =>
    assert.throws(() => createPipeline(method, stages, microBatches), {
      name: "RangeError",
      message,
    });
  for (const stages of [0, 7, 2.5]) {
    refused(
      "DualPipe",
      stages,
      20,
      `stages: DualPipe needs an even number from 2 on, got ${stages}`,
    );
  }
  for (const given of [14, 17, NaN]) {
    refused(
      "DualPipe",
      8,
      given,
      "micro-batches: DualPipe with 8 stages on 8 ranks needs an even number from 16 on, " +
        `twice its ranks, got ${given}`,
    );
  }
  for (const given of [7, 8.5]) {
    refused(
      "DualPipeV",
      8,
      given,
      "micro-batches: DualPipeV with 8 stages on 4 ranks needs a whole number from 8 on, " +
        `twice its ranks, got ${given}`,
    );
  }
  assert.equal(createPipeline("DualPipeV", 6, 7).ranks, 3);
});

test("an order in which ranks wait for each other is refused", () => {
  const pipeline = createPipeline("DualPipe", 2, 4);
  const backwards: Schedule = scheduleOf(pipeline).map((steps) => steps.toReversed());
  assert.throws(() => timelineOf(pipeline, backwards), /ranks 0, 1 wait for each other/);
});
