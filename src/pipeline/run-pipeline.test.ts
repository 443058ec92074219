import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { formCluster, routeRanks } from "../cluster/fixtures.ts";
import { temporaryFile } from "../trace/fixtures.ts";
import { nullTracer, TraceWriter } from "../trace/index.ts";
import { createPipeline, type Method, type Pipeline, stagesOf } from "./pipeline.ts";
import { PipelineRank, type RankOutcome } from "./pipeline-rank.ts";
import { executedTimeline, runPipeline, verifyRun } from "./run-pipeline.ts";
import { scheduleOf } from "./schedule.ts";
import { trainAlone, type Training } from "./training.ts";

const training: Training = { hidden: 8, rows: 3, seed: 5 };

/** Every copy of every stage has the gradients that one rank finds, and no loss is missing. */
function assertAsAlone(pipeline: Pipeline, outcomes: readonly RankOutcome[]): void {
  const alone = trainAlone(pipeline, training);
  for (const { rank, gradients, activations } of outcomes) {
    assert.deepEqual(
      gradients,
      stagesOf(pipeline, rank).map(({ stage }) => alone.gradients[stage]),
    );
    assert.equal(activations, pipeline.stages + 1);
  }
  const order = ({ direction, microBatch }: { direction: number; microBatch: number }) =>
    direction * pipeline.microBatches + microBatch;
  const losses = outcomes.flatMap((outcome) => outcome.losses);
  assert.deepEqual(
    losses.toSorted((a, b) => order(a) - order(b)),
    alone.losses,
  );
}

const sizes: readonly (readonly [Method, number, number])[] = [
  ["DualPipe", 2, 4],
  ["DualPipe", 4, 10],
  ["DualPipe", 6, 12],
  ["DualPipeV", 2, 3],
  ["DualPipeV", 6, 7],
];

for (const [method, stages, microBatches] of sizes) {
  const name = `${method}, ${stages} stages, ${microBatches} micro-batches`;
  test(`${name}: ranks in threads find one rank's gradients, bit for bit`, async () => {
    const pipeline = createPipeline(method, stages, microBatches);
    const reports = await runPipeline(pipeline, training, Date.now());
    assertAsAlone(
      pipeline,
      reports.map(({ outcome }) => outcome),
    );
  });
}

test("ranks on two nodes find one rank's gradients, bit for bit", async (t) => {
  const meshes = await formCluster(2);
  const { routers, transports } = routeRanks(meshes, [0, 0, 1, 1]);
  t.after(async () => {
    for (const transport of transports) transport.close();
    for (const router of routers) router.close();
    await Promise.all(meshes.map((mesh) => mesh.close()));
  });
  const pipeline = createPipeline("DualPipe", 4, 8);
  const outcomes = await Promise.all(
    transports.map((transport) =>
      new PipelineRank(pipeline, training, transport, nullTracer).train(),
    ),
  );
  assertAsAlone(pipeline, outcomes);
});

interface TraceEvent {
  readonly ph: string;
  readonly name: string;
  readonly tid: number;
  readonly ts: number;
  readonly args: {
    readonly name?: string;
    readonly layer: number;
    readonly step: number;
    readonly microBatch: number;
  };
}

for (const [method, stages, microBatches] of [
  ["DualPipe", 4, 10],
  ["DualPipeV", 2, 300],
] as const) {
  test(`${method}, ${stages} stages: a run's trace has the schedule's steps in its order`, async (t) => {
    const pipeline = createPipeline(method, stages, microBatches);
    const schedule = scheduleOf(pipeline);
    const file = temporaryFile(t);
    const writer = await TraceWriter.create(file, Date.now());
    const reports = await runPipeline(pipeline, training, writer.epochMs);
    for (const { spans } of reports) writer.write(spans);
    await writer.close();

    const told = JSON.parse(readFileSync(file, "utf8")) as TraceEvent[];
    const threadOf = (name: string) =>
      told.find(({ ph, args }) => ph === "M" && args.name === name);
    const events = told
      .filter(({ ph, name }) => ph === "X" && ["F", "B", "I", "W"].includes(name))
      .toSorted((a, b) => a.ts - b.ts);
    for (const rank of schedule.keys()) {
      const thread = threadOf(`rank ${rank} compute`)?.tid;
      const traced = events
        .filter(({ tid }) => tid === thread)
        .map(({ name, args }) => [args.step, name, args.layer, args.microBatch].join(" "));
      const planned = schedule[rank].flatMap((tasks, step) =>
        tasks.map(({ kind, stage, microBatch }) => [step, kind, stage, microBatch].join(" ")),
      );
      assert.deepEqual(traced, planned);
    }
    const executed = executedTimeline(
      pipeline,
      reports.map(({ spans }) => spans),
    );
    assert.deepEqual(
      executed.map((steps) => steps.map(({ tasks }) => tasks)),
      schedule,
    );
    assert.equal(Math.min(...executed.map(([{ start }]) => start)), 0);
  });
}

test("a run that left the order, or has other gradients, does not pass for one that did not", async () => {
  const pipeline = createPipeline("DualPipe", 2, 4);
  const reports = await runPipeline(pipeline, training, Date.now());
  verifyRun(pipeline, training, reports);
  const [first, { outcome, spans }] = reports;
  const exchanged = { ...spans, microBatches: spans.microBatches.toReversed() };
  assert.throws(
    () => verifyRun(pipeline, training, [first, { outcome, spans: exchanged }]),
    /rank 1 did not keep to the schedule's order/,
  );
  outcome.gradients[1].down[7] += 2 ** -20;
  assert.throws(() => verifyRun(pipeline, training, reports), /rank 1 has other gradients/);
});
