import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { createKernels, greedySampling, PAGE_TOKENS, type Policy } from "../../kernels/index.ts";
import { MemoryBlobStore } from "../../kv-cache/index.ts";
import { mtpFixture } from "../../model/fixtures.ts";
import {
  loadModel,
  modelIdentity,
  numericIdentity,
  type KvPool,
  type Model,
} from "../../model/index.ts";
import { answer, hits, request } from "../api/fixtures.ts";
import type { AskedRequest, GenerationEvent } from "../messages.ts";
import type { Proposal } from "../speculation/index.ts";
import type { CoreOptions, Speculator, StepComputer } from "./core-options.ts";
import { EngineCore } from "./core.ts";
import { lateKernels, Neighbours, OneThreadClient, runToEnd } from "./fixtures.ts";
import type { Sequence } from "./sequence.ts";

const fixture = mtpFixture();
const kernels = createKernels();
const open = (policy: Policy, mtp: boolean, own = kernels) =>
  loadModel(fixture.directory, { kernels: own, policy, maxRows: 48, mtp });
const policies = ["f32", "w8a16", "int8"] as const;
const models = new Map<Policy, { plain: Model; mtp: Model }>();
for (const policy of policies) {
  models.set(policy, { plain: await open(policy, false), mtp: await open(policy, true) });
}
const modelsOf = (policy: Policy) => models.get(policy) as { plain: Model; mtp: Model };

const promptOf = (length: number, from = 0) =>
  Array.from({ length }, (_, i) => fixture.tokens[(from + i) % fixture.tokens.length]);
const sampling = {
  ...greedySampling,
  ...{ temperature: 0.9, topP: 0.95, presencePenalty: 0.3, repetitionPenalty: 1.1, seed: 11 },
};
const requests = [
  request(promptOf(50), { maxTokens: 40 }),
  request(promptOf(100, 5), { maxTokens: 45, sampling }),
  request(promptOf(3, 3), { maxTokens: 70, sampling: { ...sampling, seed: 5 } }),
  request(promptOf(1), { maxTokens: 9 }),
];

async function run(core: EngineCore, asked: readonly AskedRequest[]) {
  const told = await runToEnd(core, asked);
  return { told, answers: told.map(answer) };
}

const plain = new Map<Policy, GenerationEvent[][]>();
for (const policy of policies) {
  const core = new EngineCore({ model: modelsOf(policy).plain, pages: 16 });
  plain.set(policy, (await run(core, requests)).answers);
}
const tokensOf = (events: readonly GenerationEvent[]) =>
  events.flatMap((event) => (event.kind === "token" ? [event.token] : []));
/** Prompt and answer of each request under a policy. */
const contextsOf = (policy: Policy) =>
  requests.map(({ prompt }, i) => [...prompt, ...tokensOf(plain.get(policy)?.[i] ?? [])]);

/**
 * Has so many tokens drafted, step by step in turns; 0 is none, and a negative number is as many tokens
 * that are known to come.
 */
function scripted(counts: readonly number[], contexts: readonly (readonly number[])[]): Speculator {
  let step = 0;
  const next = ({ handle, tokens }: Sequence): Proposal => {
    const count = counts[step++ % counts.length];
    return count >= 0 ? count : contexts[handle].slice(tokens.length, tokens.length - count);
  };
  return {
    propose: (sequences) => sequences.map(next),
    ...{
      endPass: () => undefined,
      learn: () => undefined,
      endStep: () => undefined,
    },
  };
}

for (const policy of policies) {
  test(`under ${policy} drafts leave no trace in tokens and logprobs`, async () => {
    const { mtp: model } = modelsOf(policy);
    const contexts = contextsOf(policy);
    const seldom = [...Array<number>(24).fill(0), 2];
    for (const counts of [[1], [3], [0, 0, 5, 1], [-3, 2, -1, 0, 4], seldom, [0]]) {
      for (const pages of [16, 5]) {
        const core = new EngineCore({ model, pages, speculation: scripted(counts, contexts) });
        const { answers } = await run(core, requests);
        assert.deepEqual(answers, plain.get(policy), `${counts.join()} in ${pages} pages`);
        const { proposedTokens } = core.stats;
        assert.equal(
          proposedTokens > 0,
          counts.some((count) => count !== 0),
        );
      }
    }
  });
}

/** A model that remembers its pool. */
function watched(model: Model) {
  const pools: KvPool[] = [];
  const computer: StepComputer = {
    ...{ config: model.config, maxRows: model.maxRows, tracer: model.tracer, mtp: model.mtp },
    choose: (batch, pool, options) => model.choose(batch, pool, options),
    createKvPool: (pages) => {
      pools.push(model.createKvPool(pages));
      return pools[0];
    },
  };
  return { computer, pools };
}

const MAX_PAGES = 8;

/** Full pages of the layer's plane after a request alone, its pages being taken in order. */
async function planeOf(asked: readonly AskedRequest[], change: Partial<CoreOptions> = {}) {
  const { computer, pools } = watched(modelsOf("w8a16").mtp);
  const core = new EngineCore({ model: computer, pages: MAX_PAGES, ...change });
  for (const one of asked) await run(core, [one]);
  const { entries } = pools[0].layers[computer.config.layers];
  const last = asked[asked.length - 1];
  const computed = last.prompt.length + last.maxTokens - 1;
  const full = Math.floor(computed / PAGE_TOKENS) * PAGE_TOKENS;
  return entries.slice(0, full * pools[0].width);
}

test("a page holds the same KV of the layer however its tokens were computed", async () => {
  const [context] = contextsOf("w8a16").slice(2);
  const asked = request(context.slice(0, 3), { ...requests[2] });
  const expected = await planeOf([request(context.slice(0, -1), { maxTokens: 1 })]);
  assert.ok(expected.some((value) => value !== 0));
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.integer({ min: -4, max: 4 }), { minLength: 1, maxLength: 6 }),
      fc.integer({ min: 3, max: context.length - 1 }),
      async (counts, cut) => {
        const speculation = scripted(counts, [context]);
        assert.deepEqual(await planeOf([asked], { speculation }), expected);
        const parts = [request(context.slice(0, cut), { maxTokens: 1 }), asked];
        assert.deepEqual(await planeOf(parts, { speculation }), expected, "after a prefix hit");
      },
    ),
    { numRuns: 12, seed: 3 },
  );
});

test("the layer's KV comes along from the context cache and from a prefill rank", async () => {
  const { mtp: model } = modelsOf("w8a16");
  const contexts = contextsOf("w8a16");
  const next = contexts.map((tokens) => request([...tokens, 5, 6], { maxTokens: 30 }));
  const speculation = scripted([2, 0, 1], []);
  const reference = new EngineCore({ model: modelsOf("w8a16").plain, pages: 16 });
  const { answers: expected } = await run(reference, next);
  const store = new MemoryBlobStore({ maxBytes: 1e8, maxAgeMs: 1e9 });
  const own = await modelIdentity(fixture.directory, "sample");
  const identity = numericIdentity(own, { kernels, policy: "w8a16", mtp: true });
  const contextCache = { store, identity };
  await run(new EngineCore({ model, pages: 16, contextCache, speculation }), requests);
  const warm = await run(new EngineCore({ model, pages: 16, contextCache, speculation }), next);
  assert.deepEqual(warm.answers, expected);
  assert.deepEqual(warm.told.map(hits), [64, 128, 64, 0]);

  const others = await Promise.all([0, 1].map(() => open("w8a16", true, lateKernels())));
  const neighbours = new Neighbours();
  for (const [rank, each] of others.entries()) {
    const transport = neighbours.transport(rank);
    const options = { model: each, pages: 16, transport, speculation };
    neighbours.cores.set(rank, new EngineCore(options));
  }
  const client = new OneThreadClient(neighbours);
  requests.forEach((one, handle) => client.submit(handle, one));
  await client.run();
  const told = requests.map((_, handle) => answer(client.told(handle)));
  assert.deepEqual(told, plain.get("w8a16"));
  const [, decode] = [...neighbours.cores.values()];
  assert.ok(decode.stats.proposedTokens > 0);
});

test("caches with and without the layer's KV do not mix", async () => {
  const own = await modelIdentity(fixture.directory, "sample");
  const choices = { kernels, policy: "w8a16" } as const;
  assert.deepEqual(numericIdentity(own, choices), numericIdentity(own, { ...choices, mtp: false }));
  assert.notDeepEqual(
    numericIdentity(own, choices),
    numericIdentity(own, { ...choices, mtp: true }),
  );
});

test("a draft pass that fails ends its requests, and the rank goes on", async () => {
  const { mtp: model } = modelsOf("f32");
  const { computer } = watched(model);
  let failures = 1;
  const mtp = new Proxy(model.mtp as object, {
    get(target, name) {
      const value = Reflect.get(target, name) as unknown;
      if (name === "draft" && failures-- > 0) return () => Promise.reject(new Error("lost"));
      return typeof value === "function" ? value.bind(target) : value;
    },
  }) as NonNullable<Model["mtp"]>;
  const speculation = scripted([2], []);
  const core = new EngineCore({ model: { ...computer, mtp }, pages: 16, speculation });
  const { told } = await run(core, requests.slice(0, 1));
  assert.deepEqual(told[0].at(-1)?.kind, "failed");
  const again = await run(core, requests.slice(0, 1));
  assert.deepEqual(again.answers, plain.get("f32")?.slice(0, 1));
});
