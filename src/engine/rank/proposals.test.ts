import assert from "node:assert/strict";
import { test } from "node:test";
import { createKernels, greedySampling } from "../../kernels/index.ts";
import { MemoryBlobStore } from "../../kv-cache/index.ts";
import { tinyFixtures } from "../../model/fixtures.ts";
import { loadModel, modelIdentity, numericIdentity } from "../../model/index.ts";
import { answer, hits, request } from "../api/fixtures.ts";
import type { AskedRequest, GenerationEvent } from "../messages.ts";
import type { CoreOptions, Speculator } from "./core-options.ts";
import { EngineCore } from "./core.ts";
import { runToEnd } from "./fixtures.ts";
import type { Sequence } from "./sequence.ts";

const [fixture] = tinyFixtures().filter(({ name }) => name === "v3");
const kernels = createKernels();
const model = await loadModel(fixture.directory, { kernels, policy: "w8a16", maxRows: 64 });
const promptOf = (length: number, from = 0) =>
  Array.from({ length }, (_, i) => fixture.tokens[(from + i) % fixture.tokens.length]);

const sampling = {
  ...greedySampling,
  temperature: 0.9,
  topP: 0.95,
  presencePenalty: 0.3,
  repetitionPenalty: 1.1,
  seed: 11,
};
const requests = [
  request(promptOf(50), { maxTokens: 40 }),
  request(promptOf(100, 5), { maxTokens: 41, sampling }),
  request(promptOf(20, 3), { maxTokens: 30, sampling: { ...sampling, seed: 5 } }),
];

async function run(asked: readonly AskedRequest[], change: Partial<CoreOptions> = {}) {
  return runOn(new EngineCore({ model, pages: 16, ...change }), asked);
}

async function runOn(core: EngineCore, asked: readonly AskedRequest[]) {
  const told = await runToEnd(core, asked);
  return { core, told, answers: told.map(answer) };
}

const tokensOf = (events: readonly GenerationEvent[]) =>
  events.flatMap((event) => (event.kind === "token" ? [event.token] : []));

const speculatedOf = (events: readonly GenerationEvent[]) => {
  const tokens = events.flatMap((event) => (event.kind === "token" ? [event] : []));
  return {
    proposed: tokens.filter(({ proposed }) => proposed).length,
    refuted: tokens.reduce((sum, { refuted }) => sum + refuted, 0),
  };
};

const plain = await run(requests);
const contexts = requests.map(({ prompt }, i) => [...prompt, ...tokensOf(plain.told[i])]);

/** Proposes `count` tokens that are known to come, of which every so manieth is wrong. */
function scripted(count: number, wrongEvery: number): Speculator {
  let proposals = 0;
  const next = ({ handle, tokens }: Sequence, most: number) =>
    contexts[handle]
      .slice(tokens.length, tokens.length + Math.min(count, most))
      .map((token) => (++proposals % wrongEvery === 0 ? (token + 1) % 300 : token));
  return {
    propose(sequences, rows) {
      let left = rows;
      return sequences.map((sequence) => {
        const proposed = next(sequence, left);
        left -= proposed.length;
        return proposed;
      });
    },
    endPass: () => undefined,
    learn: () => undefined,
    endStep: () => undefined,
  };
}

test("proposed tokens, right or wrong, leave no trace in the answers", async () => {
  for (const [count, wrongEvery] of [
    [1, 2],
    [3, 4],
    [4, Infinity],
    [5, 1],
    [100, 7],
  ]) {
    for (const pages of [16, 4]) {
      const { core, answers } = await run(requests, {
        pages,
        speculation: scripted(count, wrongEvery),
      });
      assert.deepEqual(answers, plain.answers, `${count} proposals in ${pages} pages`);
      const saved = plain.core.stats.steps - core.stats.steps;
      if (pages === 16) assert.equal(saved > 0, wrongEvery > 1, `${saved} steps saved`);
    }
  }
});

test("right proposals make several tokens a step, and none beyond what was asked for", async () => {
  const { core, answers, told } = await run(requests.slice(0, 1), {
    speculation: scripted(4, Infinity),
  });
  assert.deepEqual(answers, plain.answers.slice(0, 1));
  const { steps, generatedTokens, proposedTokens, acceptedTokens } = core.stats;
  assert.deepEqual([steps, generatedTokens], [1 + 8, 40], "after the prompt, five tokens a step");
  assert.deepEqual([proposedTokens, acceptedTokens], [31, 31]);
  assert.deepEqual(speculatedOf(told[0]), { proposed: 31, refuted: 0 });
});

test("a request is told which of its tokens were proposed, and how many proposals were wrong", async () => {
  const { core, told } = await run(requests.slice(0, 1), { speculation: scripted(3, 4) });
  const { proposed, refuted } = speculatedOf(told[0]);
  const { proposedTokens, acceptedTokens } = core.stats;
  assert.ok(refuted > 0);
  assert.deepEqual([proposed, proposed + refuted], [acceptedTokens, proposedTokens]);
});

test("KV of proposals is reused, and kept in the context cache, only where they stand", async () => {
  const next = contexts.map((tokens) => request([...tokens, 5, 6], { maxTokens: 4 }));
  const expected = (await run(next)).answers;
  const store = new MemoryBlobStore({ maxBytes: 1e8, maxAgeMs: 1e9 });
  const identity = numericIdentity(await modelIdentity(fixture.directory, "sample"), {
    kernels,
    policy: "w8a16",
  });
  const contextCache = { store, identity };
  const core = new EngineCore({ model, pages: 16, contextCache, speculation: scripted(5, 3) });
  await runOn(core, requests);
  const again = await runOn(core, next);
  assert.deepEqual(again.answers, expected, "from the pool");
  assert.deepEqual(again.told.map(hits), [64, 128, 0]);
  const warm = await run(next, { contextCache });
  assert.deepEqual(warm.answers, expected, "from the context cache");
  assert.deepEqual(warm.told.map(hits), [64, 128, 0]);
});
