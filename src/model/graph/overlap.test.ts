import assert from "node:assert/strict";
import { test } from "node:test";
import {
  greedySampling,
  PAGE_TOKENS,
  policies,
  type StoredRows,
  type TokenChoice,
} from "../../kernels/index.ts";
import { backends } from "../../kernels/testing/fixtures.ts";
import { tinyFixtures } from "../fixtures.ts";
import { cutStep } from "./cut-step.ts";
import { loadModel } from "./model.ts";
import type { Order } from "./overlap.ts";
import type { StepBatch } from "./step.ts";

/** Rows of some sequences, each from its first position on. */
function batchOf(lengths: readonly number[], tokens: readonly number[]): StepBatch {
  const rows = lengths.reduce((sum, length) => sum + length, 0);
  const tableStride = Math.max(...lengths.map((length) => Math.ceil(length / PAGE_TOKENS)));
  const starts = lengths.map((_, i) => lengths.slice(0, i).reduce((sum, each) => sum + each, 0));
  return {
    rows,
    tokens: Int32Array.from({ length: rows }, (_, row) => tokens[(7 * row) % tokens.length]),
    positions: Int32Array.from(lengths.flatMap((length) => [...Array(length).keys()])),
    rowStarts: Int32Array.of(...starts, rows),
    pageTables: Int32Array.from({ length: lengths.length * tableStride }, (_, page) => page),
    tableStride,
    logitRows: Int32Array.from({ length: rows }, (_, row) => row),
  };
}

const choice: TokenChoice = {
  ...{ parameters: greedySampling, choice: 0, position: 0, promptLength: 0, topLogprobs: 2 },
  tokens: new Uint32Array(0),
};

/** The best there are, whose streams are closed when the next are created: models have no end of their own. */
const { create } = backends[1] ?? backends[0];

for (const policy of policies) {
  test(`overlap leaves no trace under ${policy}, wherever prompts are cut`, async () => {
    for (const { directory, tokens } of tinyFixtures()) {
      const model = await loadModel(directory, { kernels: create(), policy, maxRows: 90 });
      const compute = async (batch: StepBatch, order: Order) => {
        const pool = model.createKvPool(batch.pageTables.length);
        const choices = Array.from({ length: batch.rows }, () => choice);
        const options = { choices, usableTokens: model.config.vocabSize, order };
        const chosen = await model.choose(batch, pool, options);
        const entries: StoredRows[] = pool.layers.map((layer) => layer.entries);
        return { entries, chosen: choices.map((_, row) => structuredClone(chosen(row))) };
      };
      for (const lengths of [[66], [3, 37, 1, 16], [1, 1, 1, 1], [1]]) {
        const batch = batchOf(lengths, tokens);
        const whole = await compute(batch, "whole");
        for (const order of ["prefill", "decode"] as const) {
          assert.deepEqual(await compute(batch, order), whole, `${order} of ${lengths.join()}`);
        }
      }
    }
  });
}

test("a step is cut where half of its work is done", () => {
  const rowsOf = (batch: StepBatch) => cutStep(batch).map(({ rows }) => rows);
  assert.deepEqual(rowsOf(batchOf([1, 1, 1, 1], [0])), [2, 2]);
  assert.deepEqual(rowsOf(batchOf([4096], [0])), [2528, 1568]);
  assert.deepEqual(rowsOf(batchOf([1], [0])), [0, 1]);
});

test("a sequence that is cut has rows in both parts, with its own pages", () => {
  const [earlier, later] = cutStep(batchOf([3, 70, 1, 16], [0]));
  assert.deepEqual([...earlier.rowStarts, ...later.rowStarts], [0, 3, 32, 0, 41, 42, 58]);
  assert.deepEqual([...later.pageTables], [2, 3, 4, 5, 6, 7]);
  assert.equal(later.positions[0], 29);
});
