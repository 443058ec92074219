import assert from "node:assert/strict";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import fc from "fast-check";
import { ManualClock } from "../../cluster/fixtures.ts";
import { parseTopology, systemClock, type Clock } from "../../cluster/index.ts";
import {
  createKernels,
  greedySampling,
  policies,
  type Kernels,
  type Policy,
} from "../../kernels/index.ts";
import {
  DirectoryBlobStore,
  FilePermits,
  MemoryBlobStore,
  openBlobStore,
  type BlobStore,
} from "../../kv-cache/index.ts";
import { storeServers } from "../../kv-cache/server-fixtures.ts";
import { tinyFixtures, type Fixture } from "../../model/fixtures.ts";
import { loadModel, modelIdentity, numericIdentity } from "../../model/index.ts";
import { Engine } from "../api/client.ts";
import { EngineCore } from "./core.ts";
import { lateKernels, runToEnd } from "./fixtures.ts";
import { answer, hits, read, request } from "../api/fixtures.ts";
import type { GenerationEvent, AskedRequest } from "../messages.ts";

const scratch = mkdtempSync(join(tmpdir(), "daysix-engine-cache-"));
after(() => rmSync(scratch, { recursive: true, force: true }));

const limits = { maxBytes: 1e8, maxAgeMs: 1e9 };
const fixtures = tinyFixtures().filter(({ name }) => ["v3", "fp8"].includes(name));
const [fixture] = fixtures;
const directory = (name: string) => join(scratch, name);

interface Setting {
  readonly fixture?: Fixture;
  readonly policy?: Policy;
  readonly pages?: number;
  readonly store?: BlobStore;
  readonly kernels?: Kernels;
  readonly clock?: Clock;
}

async function createCore(setting: Setting = {}) {
  const { fixture: own = fixture, policy = "f32", pages = 16, store } = setting;
  const { kernels = createKernels(), clock = systemClock } = setting;
  const model = await loadModel(own.directory, { kernels, policy, maxRows: 64 });
  if (!store) return new EngineCore({ model, pages });
  const identity = numericIdentity(await modelIdentity(own.directory, "sample"), {
    kernels,
    policy,
  });
  return new EngineCore({ model, pages, contextCache: { store, identity, clock } });
}

/** Tokens and logprobs, which nothing about the cache may change. */
const promptOf = ({ tokens }: Fixture, length: number, from = 0) =>
  Array.from({ length }, (_, i) => tokens[(from + i) % tokens.length]);

const prompt = promptOf(fixture, 186);

for (const policy of policies) {
  for (const own of fixtures) {
    test(`${own.name} under ${policy}: the cache, off, cold or warm, leaves no trace`, async () => {
      const sampling = { ...greedySampling, temperature: 0.9, topP: 0.95, seed: 11 };
      const long = promptOf(own, 186);
      const requests = [request(long), request(long.slice(0, 77), { sampling })];
      const setting = { fixture: own, policy };
      const off = await runToEnd(await createCore(setting), requests);

      const cacheDirectory = directory(`${own.name}-${policy}`);
      const open = () => DirectoryBlobStore.open(cacheDirectory, limits);
      const cold = await runToEnd(await createCore({ ...setting, store: await open() }), requests);
      assert.deepEqual(cold.map(answer), off.map(answer), "cold");
      assert.deepEqual(cold.map(hits), [0, 0]);

      const warm = await createCore({ ...setting, store: await open() });
      const again = await runToEnd(warm, requests);
      assert.deepEqual(again.map(answer), off.map(answer), "warm");
      assert.deepEqual(again.map(hits), [128, 64]);
      assert.equal(warm.stats.contextCache?.hits, 3);
      assert.equal(warm.stats.hitTokens, 192);

      for (const file of blockFiles(cacheDirectory)) damage(file);
      const damaged = await createCore({ ...setting, store: await open() });
      const third = await runToEnd(damaged, requests);
      assert.deepEqual(third.map(answer), off.map(answer), "damaged");
      assert.deepEqual(third.map(hits), [0, 0]);
      assert.ok((damaged.stats.contextCache?.rejected.authentication ?? 0) > 0);
    });
  }
}

for (const { name, skip, start } of storeServers) {
  test(`${name}: warm, killed between two requests, and back: no trace`, { skip }, async (t) => {
    const server = await start();
    t.after(() => server.remove());
    const open = async () => {
      const store = await openBlobStore(server.place, limits, new FilePermits());
      t.after(() => store.close?.());
      return store;
    };
    const requests = [request(prompt), request(promptOf(fixture, 150, 7))];
    const off = await runToEnd(await createCore(), requests);
    const cold = await runToEnd(await createCore({ store: await open() }), requests);
    assert.deepEqual(cold.map(answer), off.map(answer), "cold");
    const store = await open();
    const [warm] = await runToEnd(await createCore({ store }), [requests[0]]);
    assert.deepEqual([answer(warm), hits(warm)], [answer(off[0]), 128], "warm");
    await server.kill();
    const core = await createCore({ store });
    const lost = await runToEnd(core, requests);
    assert.deepEqual(lost.map(answer), off.map(answer), "killed");
    assert.deepEqual(lost.map(hits), [0, 0]);
    assert.ok((core.stats.contextCache?.failed ?? 0) > 0);
    await server.restart();
    const again = await runToEnd(await createCore({ store: await open() }), requests);
    assert.deepEqual(again.map(answer), off.map(answer), "back");
    assert.deepEqual(again.map(hits), [128, 128]);
  });
}

function blockFiles(folder: string): string[] {
  return readdirSync(folder, { recursive: true, encoding: "utf8" })
    .filter((name) => name.endsWith(".kv"))
    .map((name) => join(folder, name));
}

function damage(file: string): void {
  const bytes = readFileSync(file);
  bytes[bytes.length >> 1] ^= 0x10;
  writeFileSync(file, bytes);
}

test("what was generated is cached too, for a prompt that goes on from it", async () => {
  const store = new MemoryBlobStore(limits);
  const start = prompt.slice(0, 100);
  const [first] = await runToEnd(await createCore({ store }), [request(start, { maxTokens: 60 })]);
  const generated = first.flatMap((event) => (event.kind === "token" ? [event.token] : []));
  const next = request([...start, ...generated, 5, 6]);
  const [off] = await runToEnd(await createCore(), [next]);
  const [warm] = await runToEnd(await createCore({ store }), [next]);
  assert.equal(hits(warm), 128);
  assert.deepEqual(answer(warm), answer(off));
});

test("hits leave a token to compute, and never cross tenants, policies or models", async () => {
  const store = new MemoryBlobStore(limits);
  const whole = request(prompt.slice(0, 128));
  await runToEnd(await createCore({ store, policy: "w8a16" }), [whole]);
  const hitsOf = async (one: AskedRequest, setting: Setting = {}) => {
    const [events] = await runToEnd(await createCore({ store, policy: "w8a16", ...setting }), [
      one,
    ]);
    return hits(events);
  };
  assert.equal(await hitsOf(whole), 64);
  assert.equal(await hitsOf({ ...whole, tenant: "other" }), 0);
  assert.equal(await hitsOf(whole, { policy: "w8a8" }), 0);
  assert.equal(await hitsOf(whole, { fixture: fixtures[1] }), 0);
});

test("the pool's own blocks are not asked for, and the cache adds those after them", async () => {
  const store = new MemoryBlobStore(limits);
  await runToEnd(await createCore({ store }), [request(prompt)]);
  const core = await createCore({ store });
  await runToEnd(core, [request(prompt.slice(0, 70))]);
  assert.equal(core.stats.contextCache?.hits, 1);
  const [events] = await runToEnd(core, [request(prompt)]);
  assert.equal(hits(events), 128);
  assert.equal(core.stats.contextCache?.hits, 2);
});

/** A store whose reads wait until they are let go. */
class HeldStore extends MemoryBlobStore {
  readonly #held: (() => void)[] = [];
  held = true;

  override async get(...asked: Parameters<BlobStore["get"]>) {
    if (this.held) await new Promise<void>((resolve) => this.#held.push(resolve));
    return super.get(...asked);
  }

  release(): void {
    this.held = false;
    for (const resolve of this.#held.splice(0)) resolve();
  }
}

test("a request that is being fetched does not hold up others", async () => {
  const store = new HeldStore(limits);
  const core = await createCore({ store });
  const told = new Map<number, GenerationEvent[]>([0, 1].map((handle) => [handle, []]));
  const step = async () => {
    for (const { handle, event } of await core.step()) told.get(handle)?.push(event);
  };
  core.submit(0, request(prompt));
  // Too short for a block: there is nothing to fetch.
  core.submit(1, request(prompt.slice(0, 40)));
  while (!told.get(1)?.some(({ kind }) => kind === "finished")) await step();
  assert.deepEqual(told.get(0), []);
  store.release();
  while (!core.idle) await step();
  const [alone] = await runToEnd(await createCore(), [request(prompt)]);
  assert.deepEqual(answer(told.get(0) ?? []), answer(alone));
});

test("with everything being fetched a step waits, and hears who comes and who leaves", async () => {
  const store = new HeldStore(limits);
  const core = await createCore({ store });
  core.submit(0, request(prompt));
  const first = core.step();
  core.submit(1, request(prompt.slice(0, 40)));
  assert.deepEqual(await first, []);
  assert.equal((await core.step()).find(({ event }) => event.kind === "started")?.handle, 1);
  core.cancel(1);
  const waiting = core.step();
  core.cancel(0);
  await waiting;
  assert.ok(core.idle);
  assert.equal(core.stats.pagesInUse, 0);
  store.release();
  await new Promise((resolve) => setImmediate(resolve));
  assert.deepEqual([core.stats.pagesInUse, core.stats.running, core.stats.waiting], [0, 0, 0]);
});

test("a store that never answers delays those who have blocks to fetch, once, and nobody else", async () => {
  const clock = new ManualClock();
  const store = new HeldStore(limits);
  const core = await createCore({ store, clock, pages: 40 });
  const requests = Array.from({ length: 10 }, (_, i) =>
    request(promptOf(fixture, 70, i), { maxTokens: 2 }),
  );
  requests.push(request(prompt.slice(0, 5), { maxTokens: 2 }));
  const told = requests.map((): GenerationEvent[] => []);
  requests.forEach((one, handle) => core.submit(handle, one));
  const step = async () => {
    for (const { handle, event } of await core.step()) told[handle].push(event);
  };
  for (let i = 0; i < 2; i++) await step();
  assert.deepEqual(told.map(({ length }) => length > 0).indexOf(true), 10);
  assert.ok(told[10].some(({ kind }) => kind === "finished"));
  assert.equal(core.stats.running, 8);
  clock.advance(2000);
  while (!core.idle) await step();
  const expected = await runToEnd(await createCore({ pages: 40 }), requests);
  assert.deepEqual(told.map(answer), expected.map(answer));
  assert.equal(core.stats.contextCache?.late, 8);
});

test("however slowly a store answers, whoever leaves and whatever runs out, answers stay the same", async () => {
  const kinds = [0, 40, 90].map((from) => request(promptOf(fixture, 150, from), { maxTokens: 4 }));
  const expected: (readonly GenerationEvent[])[] = [];
  for (const one of kinds) {
    const [events] = await runToEnd(await createCore(), [one]);
    expected.push(answer(events));
  }
  // Fetches end, and clients leave, in the middle of steps too.
  const kernels = lateKernels();
  const warm = new MemoryBlobStore(limits);
  await runToEnd(await createCore({ store: warm, kernels }), kinds.slice(0, 2));
  let hitBlocks = 0;
  const visitor = fc.record({
    kind: fc.nat(2),
    at: fc.nat(4),
    leaves: fc.option(fc.nat(6), { freq: 2 }),
  });
  type Drawn = [visitors: typeof patient, delays: number[], pages: number];
  const patient = [0, 1, 0, 1].map((kind, at) => ({ kind, at, leaves: null }));
  await fc.assert(
    fc.asyncProperty(
      fc.array(visitor, { minLength: 1, maxLength: 6 }),
      fc.array(fc.nat(3), { minLength: 1, maxLength: 20 }),
      fc.integer({ min: 3, max: 8 }),
      async (visitors, delays, pages) => {
        const clock = new ManualClock();
        const core = await createCore({ store: slowed(warm, delays), pages, kernels, clock });
        const told = visitors.map((): GenerationEvent[] => []);
        for (let step = 0; step < 5 || !core.idle; step++) {
          visitors.forEach(({ kind, at }, handle) => {
            if (at === step) core.submit(handle, kinds[kind]);
          });
          const events = core.step();
          visitors.forEach(({ at, leaves }, handle) => {
            if (leaves !== null && at + leaves === step) core.cancel(handle);
          });
          for (const { handle, event } of await events) told[handle].push(event);
        }
        assert.equal(core.stats.pagesInUse, 0);
        hitBlocks += core.stats.contextCache?.hits ?? 0;
        visitors.forEach(({ kind, leaves }, handle) => {
          const got = answer(told[handle]);
          if (leaves === null) assert.deepEqual(got, expected[kind]);
          else assert.deepEqual(got, expected[kind].slice(0, got.length));
        });
      },
    ),
    // The first have hits, whatever is drawn.
    { numRuns: 8, examples: [8, 7, 6].map((pages): Drawn => [patient, [1], pages]) },
  );
  assert.ok(hitBlocks > 10, `${hitBlocks} hits`);
});

/** A store that takes nothing, and whose reads take some turns of the event loop each. */
function slowed(store: BlobStore, turns: readonly number[]): BlobStore {
  let reads = 0;
  return {
    ...(store.key && { key: store.key }),
    put: async () => undefined,
    touch: (...asked) => store.touch(...asked),
    delete: (name) => store.delete(name),
    async get(...asked) {
      const wait = turns[reads++ % turns.length];
      for (let turn = 0; turn < wait; turn++) {
        await new Promise((resolve) => setImmediate(resolve));
      }
      return store.get(...asked);
    },
  };
}

test("an engine that is closed leaves its blocks to the next one", async () => {
  const contextCache = { store: directory("restart"), limits };
  const start = () =>
    Engine.start({
      modelDirectory: fixture.directory,
      policy: "w8a16",
      kvMemoryBytes: 2 ** 20,
      contextCache,
    });
  // All blocks are complete in the only step, just before the engine is closed.
  const one = request(prompt, { maxTokens: 1 });
  const told: GenerationEvent[][] = [];
  for (let life = 0; life < 2; life++) {
    const engine = await start();
    told.push(await read(engine.generate(one)));
    await engine.close();
  }
  assert.deepEqual(told.map(hits), [0, 128]);
  assert.deepEqual(answer(told[1]), answer(told[0]));
  writeFileSync(directory("file"), "");
  contextCache.store = directory("file");
  await assert.rejects(start(), /cache directory .*file is not writable/);
});

test("ranks of prefill and decode units share one directory, whoever wrote it", async () => {
  const contextCache = { store: directory("shared"), limits };
  const prompts = [0, 40].map((from) => promptOf(fixture, 150, from));
  const first = prompts.map((tokens) => request(tokens, { maxTokens: 60 }));
  const runOn = async (
    topology: string,
    requests: readonly AskedRequest[],
    reading?: "prefill" | "decode" | "off",
  ) => {
    const engine = await Engine.start({
      modelDirectory: fixture.directory,
      policy: "w8a16",
      kvMemoryBytes: 2 ** 20,
      topology: parseTopology(topology),
      ...(reading === "off" ? {} : { contextCache, ...(reading && { reading }) }),
    });
    const told = await Promise.all(requests.map((one) => read(engine.generate(one))));
    lent.push((await engine.stats()).contextCache?.lent ?? 0);
    await engine.close();
    return told;
  };
  const lent: number[] = [];
  const disaggregated = "prefill=1x2,decode=1x2";
  const off = await runOn("combined=1x1", first, "off");
  const cold = await runOn(disaggregated, first);
  assert.deepEqual(cold.map(answer), off.map(answer), "cold");
  // The third block ends among generated tokens: only a decode rank has computed all of it.
  const next = first.map((one, i) => ({
    ...one,
    maxTokens: 8,
    prompt: [
      ...one.prompt,
      ...off[i].flatMap((event) => (event.kind === "token" ? [event.token] : [])),
    ],
  }));
  const nextOff = await runOn("combined=1x1", next, "off");
  for (const [topology, reading] of [
    [disaggregated, "prefill"],
    [disaggregated, "decode"],
    ["combined=1x1"],
    ["combined=1x2"],
  ] as const) {
    const warm = await runOn(topology, next, reading);
    assert.deepEqual(warm.map(answer), nextOff.map(answer), topology);
    assert.deepEqual(warm.map(hits), [192, 192], topology);
    assert.equal(lent.at(-1), reading === "decode" ? 6 : 0);
  }
});
