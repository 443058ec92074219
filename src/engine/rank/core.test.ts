import assert from "node:assert/strict";
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import {
  createNativeKernels,
  createKernels,
  createReferenceKernels,
  greedySampling,
  nativeProblem,
  type Stream,
} from "../../kernels/index.ts";
import { changedKernels, tinyFixtures } from "../../model/fixtures.ts";
import { loadModel } from "../../model/index.ts";
import type { CoreOptions } from "./core-options.ts";
import { EngineCore } from "./core.ts";
import { lateKernels, Neighbours } from "./fixtures.ts";
import { UnitClock } from "./unit.ts";
import type { GenerationEvent, AskedRequest } from "../messages.ts";

const [fixture] = tinyFixtures().filter(({ name }) => name === "v3");
const prompt = Array.from({ length: 100 }, (_, i) => fixture.tokens[i % fixture.tokens.length]);

function request(tokens: readonly number[], change: Partial<AskedRequest> = {}) {
  return {
    id: "r",
    tenant: "",
    prompt: tokens,
    choice: 0,
    maxTokens: 5,
    stopTokens: [],
    sampling: greedySampling,
    ...change,
  } satisfies AskedRequest;
}

async function createCore(
  kernels = createKernels(),
  change: Partial<CoreOptions> = {},
  directory = fixture.directory,
) {
  const model = await loadModel(directory, { kernels, policy: "f32", maxRows: 256 });
  return new EngineCore({ model, pages: 16, ...change });
}

/** Steps to the end; what each handle was told. */
async function finish(core: EngineCore, told = new Map<number, GenerationEvent[]>()) {
  while (!core.idle) {
    for (const { handle, event } of await core.step()) {
      told.set(handle, [...(told.get(handle) ?? []), event]);
    }
  }
  assert.equal(core.stats.pagesInUse, 0, "every page is given back");
  return told;
}

/** A request's answer when it has an engine to itself. */
async function alone(one: AskedRequest) {
  const core = await createCore();
  core.submit(0, one);
  return (await finish(core)).get(0);
}

test("a request cancelled while its step computes is told no more and spoils nothing", async () => {
  const core = await createCore(lateKernels());
  const other = request(prompt.slice(1));
  core.submit(0, request(prompt));
  core.submit(1, other);
  const step = core.step();
  core.cancel(0);
  const told = new Map([[1, [] as GenerationEvent[]]]);
  for (const { handle, event } of await step) {
    assert.ok(handle === 1 || event.kind === "started");
    if (handle === 1) told.get(1)?.push(event);
  }
  assert.deepEqual((await finish(core, told)).get(1), await alone(other));
  core.submit(2, request(prompt));
  assert.deepEqual((await finish(core)).get(2), await alone(request(prompt)));
});

test("a request that arrives while a step computes joins the next one", async () => {
  const core = await createCore(lateKernels());
  core.submit(0, request(prompt));
  const step = core.step();
  core.submit(1, request(prompt));
  assert.equal((await step).filter(({ handle }) => handle === 1).length, 0);
  const told = await finish(core);
  assert.deepEqual(told.get(1)?.slice(1), (await alone(request(prompt)))?.slice(1));
});

test("a step that cannot be computed fails its requests and nobody else's", async () => {
  const poison = 3;
  const kernels = changedKernels((stream) => ({
    embed(...[out, table, tokens, rows]: Parameters<Stream["embed"]>) {
      if (tokens.subarray(0, rows).includes(poison)) throw new Error("tensor x is damaged");
      stream.embed(out, table, tokens, rows);
    },
  }));
  const healthy = request(prompt.filter((token) => token !== poison));
  const core = await createCore(kernels);
  core.submit(0, request([poison, 1, 2]));
  core.submit(1, healthy);
  const told = await finish(core);
  const failure = { kind: "failed", code: "step_failed", message: "tensor x is damaged" };
  assert.deepEqual(told.get(0)?.at(-1), failure);
  assert.deepEqual(told.get(1)?.at(-1), failure);
  core.submit(2, healthy);
  assert.deepEqual((await finish(core)).get(2), await alone(healthy));
  assert.equal(core.stats.running + core.stats.waiting, 0);
});

test(
  "a step that fails on a native stream fails its requests and nobody else's",
  { skip: nativeProblem() ?? false },
  async () => {
    let isDamaged = false;
    const kernels = changedKernels(
      (stream) => ({
        embed(...[out, table, tokens, rows]: Parameters<Stream["embed"]>) {
          const wrong = tokens.map((token) => (isDamaged ? table.shape[0] : token));
          stream.embed(out, table, wrong, rows);
          isDamaged = false;
        },
      }),
      createNativeKernels(),
    );
    const core = await createCore(kernels);
    const answer = async () => {
      core.submit(0, request(prompt));
      return (await finish(core)).get(0);
    };
    const healthy = await answer();
    for (let round = 0; round < 3; round++) {
      isDamaged = true;
      const last = (await answer())?.at(-1);
      assert.ok(last?.kind === "failed" && last.code === "step_failed");
      assert.match(last.message, /^embed: /);
      assert.deepEqual((await answer())?.slice(1), healthy?.slice(1));
    }
  },
);

/** An engine whose steps fail as long as it is told so. */
async function createFailingCore(change: Partial<CoreOptions> = {}) {
  const health = { fails: true };
  const kernels = changedKernels((stream) => ({
    embed(...given: Parameters<Stream["embed"]>) {
      if (health.fails) throw new Error("tensor x is damaged");
      stream.embed(...given);
    },
  }));
  return { core: await createCore(kernels, change), health };
}

test("a rank whose steps fail one after another gives itself up, by name", async () => {
  const { core, health } = await createFailingCore();
  const failSome = async (count: number) => {
    for (let handle = 0; handle < count; handle++) {
      core.submit(handle, request(prompt));
      const last = (await finish(core)).get(handle)?.at(-1);
      assert.ok(last?.kind === "failed" && last.code === "step_failed");
    }
  };
  await failSome(7);
  health.fails = false;
  core.submit(0, request(prompt));
  assert.equal((await finish(core)).get(0)?.at(-1)?.kind, "finished");
  health.fails = true;
  await failSome(7);
  core.submit(7, request(prompt));
  await assert.rejects(
    core.step(),
    /^Error: 8 steps failed in a row, the last: tensor x is damaged/,
  );
});

test("a rank that shares experts leaves with its first failed step, as nobody can step without it", async () => {
  const transport = new Neighbours().transport(0);
  const { core } = await createFailingCore({ unit: new UnitClock(transport, [0]) });
  core.submit(0, request(prompt));
  await assert.rejects(core.step(), /^Error: a step failed: tensor x is damaged/);
});

test("a damaged tensor is named to the requests that needed it", async () => {
  const directory = mkdtempSync(join(tmpdir(), "daysix-engine-"));
  try {
    cpSync(fixture.directory, directory, { recursive: true });
    const file = join(directory, "model.safetensors");
    const bytes = readFileSync(file);
    const headerLength = Number(bytes.readBigUInt64LE(0));
    const header = JSON.parse(bytes.subarray(8, 8 + headerLength).toString());
    const [from, to] = header["model.norm.weight"].data_offsets;
    bytes.fill(0xff, 8 + headerLength + from, 8 + headerLength + to);
    writeFileSync(file, bytes);
    const core = await createCore(createReferenceKernels(), {}, directory);
    core.submit(0, request(prompt));
    const last = (await finish(core)).get(0)?.at(-1);
    assert.ok(last?.kind === "failed");
    assert.match(last.message, /tensor model\.norm\.weight in .*model\.safetensors holds NaN/);
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
});

test("logits that are not numbers fail their request only", async () => {
  const kernels = changedKernels((stream) => ({
    gemm(...[out, x, weight, rows]: Parameters<Stream["gemm"]>) {
      stream.gemm(out, x, weight, rows);
      if (weight.name === "lm_head.weight" && rows === 2) out[5] = NaN;
    },
  }));
  const core = await createCore(kernels);
  const [first, second] = [request(prompt), request(prompt.slice(3))];
  core.submit(0, first);
  core.submit(1, second);
  const told = await finish(core);
  const last = told.get(0)?.at(-1);
  assert.ok(last?.kind === "failed");
  assert.match(last.message, /logits: token 5's is not a number/);
  assert.deepEqual(told.get(1), await alone(second));
});

test("unused rows of the vocabulary are never chosen nor reported", async () => {
  const usableTokens = 20;
  const core = await createCore(createKernels(), { usableTokens });
  const sampling = { ...greedySampling, temperature: 2, seed: 1, logitBias: { 300: 100 } };
  core.submit(0, request(prompt, { sampling, maxTokens: 60, topLogprobs: 20 }));
  core.submit(1, request(prompt, { maxTokens: 20, topLogprobs: 1 }));
  for (const events of (await finish(core)).values()) {
    for (const event of events) {
      if (event.kind !== "token") continue;
      assert.ok(event.token < usableTokens);
      assert.ok(event.top.every(({ token }) => token < usableTokens));
    }
  }
});

test("log-probabilities come when asked for, alternatives likeliest first", async () => {
  const core = await createCore();
  core.submit(0, request(prompt));
  core.submit(1, request(prompt, { topLogprobs: 0 }));
  core.submit(2, request(prompt, { topLogprobs: 3 }));
  const told = await finish(core);
  const tokens = (handle: number) =>
    (told.get(handle) ?? []).flatMap((event) => (event.kind === "token" ? [event] : []));
  assert.ok(tokens(0).every((event) => !("logprob" in event) && event.top.length === 0));
  assert.ok(tokens(1).every(({ logprob = 1, top }) => logprob < 0 && top.length === 0));
  for (const { token, logprob, top } of tokens(2)) {
    assert.equal(top.length, 3);
    assert.deepEqual(top[0], { token, logprob });
    assert.ok(top[0].logprob >= top[1].logprob && top[1].logprob >= top[2].logprob);
  }
});

test("choices of one seed differ, and each repeats", async () => {
  const sampling = { ...greedySampling, temperature: 1.5, seed: 4 };
  const choices = [0, 1, 0].map((choice) => request(prompt, { choice, sampling, maxTokens: 12 }));
  const core = await createCore();
  choices.forEach((choice, handle) => core.submit(handle, choice));
  const told = await finish(core);
  assert.deepEqual(told.get(0)?.slice(1), told.get(2)?.slice(1));
  assert.notDeepEqual(told.get(0), told.get(1));
});

test("a context the pool cannot hold is refused with both sizes", async () => {
  const core = await createCore(createKernels(), { pages: 1 });
  core.submit(0, request(prompt));
  assert.deepEqual((await finish(core)).get(0), [
    {
      kind: "failed",
      code: "invalid_request",
      message:
        "prompt: 100 tokens leave no room in a context of 64 (the KV pool has 1 pages of 64 tokens)",
    },
  ]);
  await assert.rejects(
    createCore(createKernels(), { maxModelLen: 1 }),
    /maxModelLen: expected a whole number of at least 2, got 1/,
  );
});

test("a thousand cancellations cost next to nothing and leave the pool empty", async () => {
  const core = await createCore();
  for (let handle = 0; handle < 1000; handle++) core.submit(handle, request(prompt));
  await core.step();
  const before = process.cpuUsage();
  for (let handle = 0; handle < 1000; handle++) core.cancel(handle);
  const { user, system } = process.cpuUsage(before);
  assert.ok(user + system < 500_000, `${user + system} µs`);
  await finish(core);
  assert.deepEqual([core.stats.running, core.stats.waiting], [0, 0]);
});
