import assert from "node:assert/strict";
import { test } from "node:test";
import { backends } from "../../kernels/testing/fixtures.ts";
import { greedySampling, policies, type Kernels, type Policy } from "../../kernels/index.ts";
import { largestDifference, mtpFixture, tinyFixtures } from "../fixtures.ts";
import { loadModel, type Model } from "./model.ts";
import type { Mtp, MtpBatch } from "./mtp.ts";
import type { KvPool } from "./step.ts";

const { directory, tokens, drafts, golden } = mtpFixture();
const tolerance = 1e-4;
const maxRows = 80;
const PAGES = 2;

const goldenOf = (name: string) => golden.get(name) as Float32Array;

/** Rows of one sequence from a position on, with what is before each. */
function batchOf(all: readonly number[], from: number, to: number) {
  const rows = to - from;
  const each = Int32Array.from({ length: rows }, (_, i) => i);
  return {
    rows,
    tokens: Int32Array.from(all.slice(from, to)),
    positions: each.map((i) => from + i),
    rowStarts: Int32Array.of(0, rows),
    ...{ pageTables: Int32Array.of(1, 0), tableStride: PAGES, logitRows: each },
  };
}

async function open(kernels: Kernels, policy: Policy) {
  const model = await loadModel(directory, { kernels, policy, maxRows, mtp: true });
  assert.ok(model.mtp);
  return { model, mtp: model.mtp, pool: model.createKvPool(PAGES) };
}

/** The trunk's states, each behind the token before; zero before the first. */
async function statesOf(model: Model, mtp: Mtp, pool: KvPool): Promise<Float32Array> {
  await model.forward(batchOf(tokens, 0, tokens.length), pool);
  const width = model.config.hiddenSize;
  const states = new Float32Array(tokens.length * width);
  states.set(mtp.trunk.subarray(0, states.length - width), width);
  return states;
}

/** Logits of every token of the prompt, computed in passes that end at the given positions. */
async function logitsOf(mtp: Mtp, pool: KvPool, states: Float32Array, ends: readonly number[]) {
  const width = states.length / tokens.length;
  const logits: number[] = [];
  let from = 0;
  for (const end of ends) {
    const batch: MtpBatch = {
      ...batchOf(tokens, from, end),
      states: states.slice(from * width, end * width),
    };
    logits.push(...(await mtp.forward(batch, pool)));
    from = end;
  }
  return Float32Array.from(logits);
}

for (const { name, create } of backends) {
  test(`${name} states and logits of the MTP layer equal transformers' MtpModel`, async () => {
    const { model, mtp, pool } = await open(create(), "f32");
    const states = await statesOf(model, mtp, pool);
    const trunk = largestDifference(mtp.trunk, goldenOf("states"));
    assert.ok(trunk <= tolerance, `largest difference of the trunk's states ${trunk}`);
    const logits = await logitsOf(mtp, pool, states, [tokens.length]);
    const difference = largestDifference(logits, goldenOf("logits"));
    assert.ok(difference <= tolerance, `largest logit difference ${difference}`);
  });

  test(`${name} drafts that follow one another equal transformers'`, async () => {
    const { model, mtp, pool } = await open(create(), "f32");
    const prompt: MtpBatch = {
      ...batchOf(tokens, 0, tokens.length),
      logitRows: Int32Array.of(tokens.length - 1),
      states: await statesOf(model, mtp, pool),
    };
    const { vocabSize, hiddenSize } = model.config;
    const all = [...tokens];
    for (let batch = prompt, i = 0; i < drafts.length; i++) {
      const choice = { tokens: all, promptLength: tokens.length, choice: 0 };
      const choices = [{ ...choice, parameters: greedySampling, topLogprobs: 1 }];
      const options = { choices, usableTokens: vocabSize, owed: [] };
      const drafted = await mtp.draft(batch, pool, options);
      const { token, logprob } = drafted.chosen(0);
      assert.equal(token, drafts[i]);
      const logits = goldenOf("chain").subarray(i * vocabSize, (i + 1) * vocabSize);
      const expected = logits[token] - Math.log(logits.reduce((sum, x) => sum + Math.exp(x), 0));
      assert.ok(Math.abs((logprob as number) - expected) <= tolerance, `${logprob}, ${expected}`);
      all.push(token);
      const states = drafted.states.slice(0, hiddenSize);
      batch = { ...batchOf(all, all.length - 1, all.length), states };
    }
  });

  for (const policy of policies) {
    test(`under ${policy} ${name} passes of any size give the layer's logits bit for bit`, async () => {
      const { model, mtp, pool } = await open(create(), policy);
      const states = await statesOf(model, mtp, pool);
      const whole = await logitsOf(mtp, pool, states, [tokens.length]);
      const plane = pool.layers[mtp.plane].entries.slice();
      for (const ends of [[1, 8, tokens.length], tokens.map((_, i) => i + 1)]) {
        assert.deepEqual(await logitsOf(mtp, pool, states, ends), whole);
        assert.deepEqual(pool.layers[mtp.plane].entries, plane);
      }
      pool.layers[mtp.plane].entries.fill(0);
      await mtp.write([{ ...batchOf(tokens, 0, tokens.length), states }], pool);
      assert.deepEqual(pool.layers[mtp.plane].entries, plane, "KV alone");
    });
  }
}

test("a checkpoint without the layer, or a model not asked for it, goes as ever", async () => {
  const [{ create }] = backends;
  const [without] = tinyFixtures();
  const options = { kernels: create(), policy: "f32", maxRows } as const;
  const plain = await loadModel(directory, options);
  assert.equal(plain.mtp, undefined);
  assert.equal(plain.createKvPool(1).layers.length, plain.config.layers);
  const asked = await loadModel(without.directory, { ...options, mtp: true });
  assert.equal(asked.mtp, undefined);
  const { model, pool } = await open(create(), "f32");
  assert.equal(pool.layers.length, model.config.layers + 1);
  assert.equal(model.kvBytesPerToken, (plain.kvBytesPerToken / 2) * 3);
});
