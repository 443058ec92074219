import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, suite, test } from "node:test";
import { nativeProblem } from "../../kernels/index.ts";
import { modelWeights, openCheckpoint, readConfig, type ModelConfig } from "../../model/index.ts";
import { ModelBench } from "./model-bench.ts";
import { figures, rowsPerExpert, workOf } from "./model-figures.ts";
import { writeRandomCheckpoint } from "./random-checkpoint.ts";
import { shapes } from "./shapes.ts";
import { stepBytes, type StepBytes } from "./step-bytes.ts";
import { stepOperations, type StepOperations } from "./step-operations.ts";
import { attendedPairs, contextRead, stepsOf, type Workload } from "./workload.ts";

const directory = mkdtempSync(join(tmpdir(), "daysix-model-bench-"));
after(() => rmSync(directory, { recursive: true }));
let config: ModelConfig;
let bytes: StepBytes;
let operations: StepOperations;
before(async () => {
  await writeRandomCheckpoint(directory, { config: shapes.grain, seed: 1 });
  config = await readConfig(directory);
  const weights = modelWeights(await openCheckpoint(directory), config);
  bytes = stepBytes(config, weights, "w8a16");
  operations = stepOperations(config, weights, "w8a16");
});

const drawn = (workload: Workload) =>
  stepsOf(workload, { vocabSize: 100, pages: 40, random: () => 0.37 });

test("a prompt is computed in chunks, and each reads the context so far", () => {
  const steps = drawn({ measure: "prefill", prompt: 1100 });
  assert.deepEqual(
    steps.map((step) => [step.rows, step.positions[0], step.logitRows.length]),
    [
      [512, 0, 0],
      [512, 512, 0],
      [76, 1024, 1],
    ],
  );
  assert.equal(contextRead(steps), 512 + 1024 + 1100);
  assert.equal(attendedPairs(steps), (1100 * 1101) / 2);
});

test("decode has a row for each request, each in pages of its own", () => {
  const [step] = drawn({ measure: "decode", batch: 3, context: 130 });
  assert.deepEqual([...step.positions], [129, 129, 129]);
  assert.equal(new Set(step.pageTables).size, 9);
  assert.equal(contextRead([step]), 390);
  assert.equal(attendedPairs([step]), 390);
});

const chosen = (...experts: number[]) => {
  const rows = new Uint32Array(2 * 256);
  for (const expert of experts) rows[256 + expert]++;
  return rows;
};
const reading = (...experts: number[]) => ({
  ...{ chosen: [chosen(...experts)], rows: 2, logitRows: 1, contextTokens: 100, pairs: 100 },
});

suite("bytes of a step", () => {
  const rest = () => {
    const context = 2 * 100 * config.layers * 2 * (config.latentRank + config.ropeWidth);
    return 2 * (bytes.dense + bytes.head) + 4 * bytes.embedding + context;
  };

  test("ranks that share experts read each once", () => {
    const readings = [[reading(1, 2, 3)], [reading(3, 4)]];
    const { all } = workOf({ config, bytes, operations, readings, sharesExperts: true });
    assert.equal(all.bytes, rest() + 4 * bytes.expert);
  });

  test("ranks with all experts read those each has chosen", () => {
    const readings = [[reading(1, 2, 3)], [reading(3, 4)]];
    const { all } = workOf({ config, bytes, operations, readings, sharesExperts: false });
    assert.equal(all.bytes, rest() + 5 * bytes.expert);
  });

  test("drawings count by their mean", () => {
    const readings = [[reading(1), reading(1, 2, 3)]];
    const { all } = workOf({ config, bytes, operations, readings, sharesExperts: false });
    assert.equal(all.bytes, rest() / 2 + 2 * bytes.expert);
  });
});

test("rows of an expert are those of all ranks that share it", () => {
  const readings = [
    [reading(1, 2, 2), reading(5)],
    [reading(2, 4), reading(5)],
  ];
  const of = (sharesExperts: boolean) => rowsPerExpert({ config, readings, sharesExperts });
  assert.deepEqual(of(true), { mean: 7 / 4, max: 3, experts: 4 / 2 });
  assert.deepEqual(of(false), { mean: 7 / 6, max: 2, experts: 6 / 4 });
});

test("fewer layers are extrapolated by the time of one with experts", () => {
  const peaks = { int8: 1e6, bf16: 1e6, f32: 1e6 };
  const measured = figures({
    ...{ config, bytes, operations, readings: [[reading(1)]], sharesExperts: false },
    instructions: { int8: "none", bf16: "none", f32: "none" },
    workload: { measure: "decode", batch: 2, context: 50 },
    rounds: [
      { whole: [20], dense: [5], readGBs: 10, peaks },
      // The machine was busy with something else.
      { whole: [40], dense: [10], readGBs: 5, peaks },
      { whole: [10, 20], dense: [5], readGBs: 10, peaks },
    ],
    ...{ wholeLayers: 12, peakRssBytes: 1 },
  });
  assert.equal(measured.tokensPerSecond, 100);
  assert.equal(measured.roofShare, measured.bytesPerStep / 200e6);
  assert.equal(measured.bound, "read");
  assert.equal(measured.extrapolated?.layerMedian, 15);
  assert.equal(measured.extrapolated?.median, 20 + 10 * 15);
  assert.equal(measured.extrapolated?.tokensPerSecond, 2000 / 170);
});

test(
  "prompts and answers are measured on one rank and on two",
  { skip: nativeProblem() ?? false },
  async () => {
    const workloads: Workload[] = [
      { measure: "prefill", prompt: 20 },
      { measure: "decode", batch: 2, context: 70 },
    ];
    for (const [ranks, experts] of [
      [1, "parallel"],
      [2, "parallel"],
      [2, "replicated"],
    ] as const) {
      const weights = ranks === 1 ? "mapped" : "resident";
      const bench = await ModelBench.open({
        ...{ directory, ranks, experts, workloads, policy: "w8a16", threads: 1 },
        ...{ weights, fastDecode: false, wholeLayers: 12, measuredMs: 1 },
      });
      try {
        for (const workload of workloads) {
          const measured = await bench.measure(workload);
          assert.ok(measured.tokensPerSecond > 0);
          assert.ok(measured.roofShare > 0 && measured.roofShare < 2, `${measured.roofShare}`);
          const { mean, max, experts: touched } = measured.rowsPerExpert;
          assert.ok(mean >= 1 && max >= mean && touched >= 8 && touched <= 256);
          assert.ok(measured.bytesPerStep > ranks * (bytes.dense + bytes.head) + 8 * bytes.expert);
        }
      } finally {
        await bench.close();
      }
    }
  },
);

test("what does not fit the memory is refused", async () => {
  const workloads: Workload[] = [{ measure: "decode", batch: 4096, context: 2 ** 20 }];
  await assert.rejects(
    ModelBench.open({
      ...{ directory, ranks: 1, experts: "parallel", workloads, policy: "w8a16", threads: 1 },
      ...{ weights: "mapped", fastDecode: false, wholeLayers: 2 },
    }),
    /^RangeError: --batch, --context: \d+/,
  );
});
