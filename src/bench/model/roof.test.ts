import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, suite, test } from "node:test";
import { modelWeights, openCheckpoint, readConfig } from "../../model/index.ts";
import { workOf } from "./model-figures.ts";
import { writeRandomCheckpoint } from "./random-checkpoint.ts";
import { roofOf } from "./roof.ts";
import { shapes } from "./shapes.ts";
import { stepBytes } from "./step-bytes.ts";
import { stepOperations } from "./step-operations.ts";

const peaks = { int8: 4, bf16: 2, f32: 1 };

test("the roof is reading where that takes longer, else all kinds of arithmetic one after the other", () => {
  const operations = { int8: 8e6, bf16: 2e6, f32: 3e6 };
  assert.deepEqual(roofOf({ bytes: 20e6, operations }, { readGBs: 2, peaks }), {
    ...{ milliseconds: 10, bound: "read" },
  });
  assert.deepEqual(roofOf({ bytes: 10e6, operations }, { readGBs: 2, peaks }), {
    ...{ milliseconds: 2 + 1 + 3, bound: "arithmetic" },
  });
});

suite("operations of a step", () => {
  const directory = mkdtempSync(join(tmpdir(), "daysix-roof-"));
  after(() => rmSync(directory, { recursive: true }));

  // Two layers, the first dense: hidden 128, 2 heads of 32 + 16 and 32, latent 64, query 64.
  const attention = 128 * 64 + 64 * (2 * 48) + 128 * (64 + 16) + 2 * 32 * 128;
  const absorbed = 2 * (32 + 32) * 64;
  const expert = 3 * 128 * 64;
  const router = 128 * 256;
  const dense = 3 * 128 * 256;
  const experts = 8 + 1;

  test("are counted by what is multiplied", async () => {
    await writeRandomCheckpoint(directory, { config: shapes.grain, seed: 1, format: "int8" });
    const config = await readConfig(directory);
    const weights = modelWeights(await openCheckpoint(directory, config.quantization), config);
    const rows = 3;
    const pairs = 70;
    const reading = { chosen: [new Uint32Array(2 * 256)], rows, logitRows: 2, contextTokens: 30 };
    const of = (policy: "int8" | "w8a16" | "f32") => {
      const bytes = stepBytes(config, weights, policy);
      const operations = stepOperations(config, weights, policy);
      const readings = [[{ ...reading, pairs }]];
      return workOf({ config, bytes, operations, readings, sharesExperts: false });
    };
    const linear = rows * (2 * attention + dense + experts * expert) + 2 * 512 * 128;
    const attended = rows * (2 * absorbed + router) + pairs * 2 * 2 * (2 * 64 + 16);
    assert.deepEqual(of("int8").all.operations, { int8: 2 * linear, bf16: 2 * attended, f32: 0 });
    const bf16 = 2 * (linear + attended);
    assert.deepEqual(of("w8a16").all.operations, { int8: 0, bf16, f32: 0 });
    assert.deepEqual(of("f32").all.operations, { int8: 0, bf16: 0, f32: bf16 });
    const layer = of("int8").expertLayer.operations;
    assert.deepEqual(layer, {
      int8: 2 * rows * (attention + experts * expert),
      bf16: 2 * rows * (absorbed + router) + pairs * 2 * 2 * (2 * 64 + 16),
      f32: 0,
    });
  });
});
