import assert from "node:assert/strict";
import { test } from "node:test";
import { backends, type Backend } from "../../kernels/testing/fixtures.ts";
import { greedySampling, policies, type Policy } from "../../kernels/index.ts";
import { loadModel } from "../../model/index.ts";
import { tinyFixtures, type Fixture } from "../../model/fixtures.ts";
import { EngineCore } from "./core.ts";
import { answer, hits, request } from "../api/fixtures.ts";
import type { GenerationEvent, AskedRequest } from "../messages.ts";

interface Setting {
  readonly policy: Policy;
  readonly chunkRows: number;
  readonly pages: number;
  readonly backend?: Backend;
}

async function createCore(fixture: Fixture, { policy, chunkRows, pages, backend = best }: Setting) {
  const kernels = backend.create();
  const model = await loadModel(fixture.directory, { kernels, policy, maxRows: chunkRows });
  return new EngineCore({ model, pages });
}

/** Runs requests together to their ends, except those that leave; what each was told. */
async function run(
  core: EngineCore,
  requests: readonly AskedRequest[],
  /** Steps after which a request is cancelled. */
  leaving: Readonly<Record<number, number>> = {},
) {
  const told = requests.map((): GenerationEvent[] => []);
  requests.forEach((one, handle) => core.submit(handle, one));
  for (let step = 0; !core.idle; step++) {
    for (const { handle, event } of await core.step()) told[handle].push(event);
    requests.forEach((_, handle) => {
      if (leaving[handle] === step) core.cancel(handle);
    });
  }
  assert.equal(core.stats.pagesInUse, 0, "every page is given back");
  return told;
}

const fixtures = tinyFixtures().filter(({ name }) => ["v3", "v2lite", "fp8"].includes(name));

/** A prompt of two full blocks and a rest that twelve tokens carry into a fourth. */
const longPrompt = ({ tokens }: Fixture) =>
  Array.from({ length: 186 }, (_, i) => tokens[i % tokens.length]);

/**
 * The machine's best kernels show every policy with every fixture, other native ones every policy with the smallest, the
 * reference, which is slow and has the bits of the others (native.test.ts), one policy with it.
 */
const [reference, best = reference] = backends;
const [smallest] = fixtures.filter(({ name }) => name === "v2lite");
const settings = backends.flatMap((backend) => {
  const shown = backend === reference && backend !== best ? (["int8"] as const) : policies;
  const shownWith = backend === best ? fixtures : [smallest];
  return shown.flatMap((policy) => shownWith.map((fixture) => ({ policy, backend, fixture })));
});
for (const { policy, backend, fixture } of settings) {
  const prompt = longPrompt(fixture);
  const sampled = {
    ...greedySampling,
    temperature: 0.9,
    topP: 0.95,
    topK: 50,
    minP: 0.01,
    presencePenalty: 0.3,
    frequencyPenalty: 0.2,
    repetitionPenalty: 1.1,
    logitBias: { 7: 2, 9: -3 },
    seed: 11,
  };
  const requests = [request(prompt), request(prompt.slice(0, 77), { sampling: sampled })];
  const strangers = requests.map((one) => ({ ...one, tenant: "other" }));
  const setting = { policy, backend, chunkRows: 256, pages: 16 };

  test(`${fixture.name} under ${policy}, ${backend.name}: chunks, batch mates, preemption, hits and cancellation leave no trace`, async () => {
    const expected = [];
    for (const one of requests) {
      const [events] = await run(await createCore(fixture, setting), [one]);
      expected.push(answer(events));
    }
    assert.deepEqual(
      expected.map(({ length }) => length),
      [13, 13],
    );

    for (const chunkRows of [1, 7]) {
      const core = await createCore(fixture, { ...setting, chunkRows });
      const told = await run(core, requests);
      assert.deepEqual(told.map(answer), expected, `steps of ${chunkRows} rows`);
    }

    const mates = [40, 5, 90].map((start) => request(prompt.slice(start), { tenant: "other" }));
    const mixed = await run(
      await createCore(fixture, { ...setting, chunkRows: 50 }),
      [...requests, ...mates],
      { 2: 3, 3: 9 },
    );
    assert.deepEqual(mixed.slice(0, 2).map(answer), expected, "beside others, some cancelled");
    assert.equal(answer(mixed[4]).length, 13);

    const tight = await createCore(fixture, { ...setting, pages: 4 });
    const squeezed = await run(tight, [...requests, ...strangers]);
    assert.deepEqual(squeezed.map(answer), [...expected, ...expected], "in four pages");
    assert.ok(tight.stats.preemptions > 0, "pages run out");

    const warm = await createCore(fixture, setting);
    await run(warm, requests);
    const [again, shorter] = await run(warm, requests);
    assert.deepEqual([again, shorter].map(answer), expected, "with prefix hits");
    assert.deepEqual([hits(again), hits(shorter)], [128, 64]);
  });
}

const [fixture] = fixtures;

test("a preempted request is told every token once", async () => {
  const core = await createCore(fixture, { policy: "f32", chunkRows: 64, pages: 4 });
  const prompt = longPrompt(fixture);
  const requests = [0, 1, 2].map((i) => request(prompt.slice(i, i + 60), { maxTokens: 100 }));
  const told = await run(core, requests);
  assert.ok(core.stats.preemptions > 0);
  for (const events of told) {
    assert.equal(events.filter((event) => event.kind === "token").length, 100);
    assert.equal(events.filter((event) => event.kind === "started").length, 1);
  }
});

test("tenants never share a prefix, and a hit always leaves a token to compute", async () => {
  const core = await createCore(fixture, { policy: "w8a16", chunkRows: 64, pages: 16 });
  const prompt = longPrompt(fixture).slice(0, 128);
  await run(core, [request(prompt, { tenant: "a" })]);
  const [[own], [other]] = [
    await run(core, [request(prompt, { tenant: "a" })]),
    await run(core, [request(prompt, { tenant: "b" })]),
  ];
  assert.equal(hits(own), 64);
  assert.equal(hits(other), 0);
});

test("a stop token ends the answer and is its last token; the context's end is a length", async () => {
  const setting = { policy: "f32", chunkRows: 64, pages: 2 } as const;
  const prompt = fixture.tokens;
  const [stopped] = await run(await createCore(fixture, setting), [
    request(prompt, { stopTokens: [fixture.greedy[3]] }),
  ]);
  const first = fixture.greedy.indexOf(fixture.greedy[3]);
  const tokens = stopped.flatMap((event) => (event.kind === "token" ? [event.token] : []));
  assert.deepEqual(tokens, fixture.greedy.slice(0, first + 1));
  assert.deepEqual(stopped.at(-1), { kind: "finished", reason: "stop" });

  const [full] = await run(await createCore(fixture, setting), [
    request(prompt, { maxTokens: 1000 }),
  ]);
  assert.equal(full.filter((event) => event.kind === "token").length, 128 - prompt.length);
  assert.deepEqual(full.at(-1), { kind: "finished", reason: "length" });
});

test("requests that cannot run are refused by field", async () => {
  const core = await createCore(fixture, { policy: "f32", chunkRows: 64, pages: 2 });
  const bad: [Partial<AskedRequest>, RegExp][] = [
    [{ prompt: [] }, /^prompt: expected at least one token/],
    [{ prompt: Array.from({ length: 128 }, () => 1) }, /^prompt: 128 tokens leave no room/],
    [{ prompt: [1, 320] }, /^prompt: expected tokens below 320, got 320/],
    [{ prompt: [1.5] }, /^prompt: .* got 1.5/],
    [{ maxTokens: 0 }, /^maxTokens: expected a positive whole number/],
    [{ sampling: { ...greedySampling, logitBias: { 999: 1 } } }, /^logitBias: .* got 999/],
  ];
  for (const [change, message] of bad) {
    const [[event]] = await run(core, [request([1, 2], change)]);
    assert.ok(event.kind === "failed");
    assert.match(event.message, message);
  }
});
