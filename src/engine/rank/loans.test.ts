import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { ManualClock } from "../../cluster/fixtures.ts";
import { systemClock, type Clock } from "../../cluster/index.ts";
import {
  encodeTransfer,
  MemoryBlobStore,
  TransferError,
  type BlobStore,
} from "../../kv-cache/index.ts";
import { tinyFixtures } from "../../model/fixtures.ts";
import { loadModel, modelIdentity, numericIdentity } from "../../model/index.ts";
import { answer, hits, request } from "../api/fixtures.ts";
import type { AskedRequest, GenerationEvent } from "../messages.ts";
import { EngineCore } from "./core.ts";
import { lateKernels, Neighbours, nextTurn, OneThreadClient } from "./fixtures.ts";

const [fixture] = tinyFixtures().filter(({ name }) => name === "v3");
const promptOf = (length: number, from = 0) =>
  Array.from({ length }, (_, i) => fixture.tokens[(from + i) % fixture.tokens.length]);
const limits = { maxBytes: 1e8, maxAgeMs: 1e9 };

/** A model for each rank; cores of different tests use them one after the other. */
const models = await Promise.all(
  [0, 1, 2, 3].map(() =>
    loadModel(fixture.directory, { kernels: lateKernels(), policy: "f32", maxRows: 64 }),
  ),
);
const identity = numericIdentity(await modelIdentity(fixture.directory, "sample"), {
  ...{ kernels: lateKernels(), policy: "f32" },
});

/** Ranks, each with so many pages, that share a store. */
function openRanks(
  pages: readonly number[],
  store: BlobStore,
  delay?: () => number,
  clock: Clock = systemClock,
) {
  const neighbours = new Neighbours(delay);
  for (const [rank, count] of pages.entries()) {
    const transport = neighbours.transport(rank);
    const model = models[rank];
    const contextCache = { store, identity, clock };
    const options = { model, pages: count, transport, contextCache, clock };
    neighbours.cores.set(rank, new EngineCore(options));
  }
  return {
    neighbours,
    cores: [...neighbours.cores.values()],
    client: new OneThreadClient(neighbours),
  };
}

/** What a rank alone answers, and a store that has its blocks. */
async function alone(requests: readonly AskedRequest[]) {
  const store = new MemoryBlobStore(limits);
  const answers: GenerationEvent[][] = [];
  for (const one of requests) {
    const core = new EngineCore({ model: models[0], pages: 16, contextCache: { store, identity } });
    core.submit(0, one);
    const told: GenerationEvent[] = [];
    while (!core.idle) told.push(...(await core.step()).map(({ event }) => event));
    await core.flush();
    answers.push(answer(told));
  }
  return { store, answers };
}

const cacheOf = ({ stats }: EngineCore) =>
  stats.contextCache as NonNullable<typeof stats.contextCache>;
const expectEmpty = ({ stats }: EngineCore) =>
  assert.deepEqual([stats.pagesInUse, stats.running, stats.waiting], [0, 0, 0]);

test("a decode rank reads a prompt's blocks, lends them to its prefill rank and is not sent them", async () => {
  const one = request(promptOf(186));
  const { store, answers } = await alone([one]);
  const { client, cores, neighbours } = openRanks([8, 8], store);
  client.submit(0, one, 0, 1, true);
  await client.run();
  assert.deepEqual(answer(client.told(0)), answers[0]);
  assert.equal(hits(client.told(0)), 128, "what was lent is billed as what was read");
  const [prefill, decode] = cores.map(cacheOf);
  assert.deepEqual([prefill.hits, prefill.misses, prefill.bytesRead], [0, 0, 0]);
  assert.deepEqual([decode.hits, decode.lent], [2, 2]);
  const sent = neighbours.sent.flatMap((each) => (each.kind === "entries" ? [each] : []));
  assert.ok(sent.length > 0 && sent.every(({ first }) => first >= 128));
  cores.forEach(expectEmpty);
});

test("what the decode rank's pool has is lent without the store, and the prefill rank's own is not asked for", async () => {
  const one = request(promptOf(186), { maxTokens: 4 });
  const { answers } = await alone([one]);
  const { client, cores } = openRanks([8, 8, 8], new MemoryBlobStore(limits));
  client.submit(0, one, 0, 1);
  await client.run();
  client.submit(1, one, 2, 1, true);
  await client.run();
  assert.deepEqual(answer(client.told(1)), answers[0]);
  assert.deepEqual([hits(client.told(1)), cacheOf(cores[1]).lent], [128, 2]);
  client.submit(2, one, 2, 1, true);
  await client.run();
  assert.deepEqual([hits(client.told(2)), cacheOf(cores[1]).lent], [128, 2]);
});

test("what the store lacks is computed", async () => {
  const one = request(promptOf(186));
  const { answers } = await alone([one]);
  const { client, cores } = openRanks([8, 8], new MemoryBlobStore(limits));
  client.submit(0, one, 0, 1, true);
  await client.run();
  assert.deepEqual([answer(client.told(0)), hits(client.told(0))], [answers[0], 0]);
  assert.equal(cacheOf(cores[1]).lent, 0);
});

test("a decode rank that lacks room is not waited for: the prefill rank reads by itself", async () => {
  const [one, long] = [request(promptOf(186)), request(promptOf(100, 9), { maxTokens: 40 })];
  const { store, answers } = await alone([one, long]);
  const clock = new ManualClock();
  const { client, cores } = openRanks([8, 4], store, undefined, clock);
  client.submit(0, long);
  client.submit(1, one, 0, 1, true);
  await client.run(() => answer(client.told(0)).length > 5);
  assert.deepEqual(client.told(1), []);
  // A millisecond a token is assumed of who has computed none, and a loan has half a second more.
  clock.advance(128 + 500);
  await client.run(() => client.told(1).length > 0);
  await client.run();
  assert.deepEqual([answer(client.told(0)), answer(client.told(1))], [answers[1], answers[0]]);
  assert.equal(hits(client.told(1)), 128);
  assert.equal(cacheOf(cores[0]).hits, 3, "one of the other's");
  cores.forEach(expectEmpty);
});

test("what was not asked for, or is another rank's, is not taken", async () => {
  const one = request(promptOf(186));
  const { store } = await alone([one]);
  const { client, cores, neighbours } = openRanks([8, 8], store);
  const bytes = new Uint8Array(0);
  const lent = { kind: "lent", handle: 0, layer: 0, first: 0, count: 0, bytes } as const;
  cores[0].receive(1, encodeTransfer(lent));
  client.submit(0, one, 0, 1, true);
  await client.run(() => neighbours.sent.some(({ kind }) => kind === "offer"));
  for (const [rank, wrong] of [
    [2, lent],
    [1, { ...lent, first: 64 }],
    [1, { ...lent, count: 192 }],
  ] as const) {
    assert.throws(() => cores[0].receive(rank, encodeTransfer(wrong)), TransferError);
  }
  await client.run();
});

const visitor = fc.record({
  ...{ kind: fc.nat(2), at: fc.nat(20), prefillRank: fc.nat(1), decodeRank: fc.constantFrom(2, 3) },
  borrows: fc.boolean(),
  /** Turns after which the client leaves. */
  patience: fc.option(fc.nat(50), { freq: 3 }),
});

test("whoever borrows, leaves or is lost, every page comes back and answers stay the same", async () => {
  const kinds = [
    request(promptOf(130), { maxTokens: 8 }),
    request(promptOf(200, 9), { maxTokens: 3 }),
    request(promptOf(130).with(100, 5), { maxTokens: 8 }),
  ];
  const { store, answers } = await alone(kinds);
  let lent = 0;
  await fc.assert(
    fc.asyncProperty(
      fc.array(visitor, { minLength: 3, maxLength: 6 }),
      fc.array(fc.integer({ min: 4, max: 6 }), { minLength: 4, maxLength: 4 }),
      fc.array(fc.nat(5), { minLength: 1, maxLength: 20 }),
      fc.option(fc.record({ rank: fc.nat(3), at: fc.nat(60) })),
      async (visitors, pages, delays, lost) => {
        let sends = 0;
        const late = () => delays[sends++ % delays.length];
        const { client, neighbours } = openRanks(pages, lateStore(store, late), late);
        await client.receive(visitors, kinds, lost, 80);
        for (const core of neighbours.cores.values()) {
          expectEmpty(core);
          lent += cacheOf(core).lent;
        }
        for (const [handle, { kind, patience, prefillRank, decodeRank }] of visitors.entries()) {
          const got = answer(client.told(handle));
          const hit = lost?.rank === prefillRank || lost?.rank === decodeRank;
          if (patience === null && !hit) assert.deepEqual(got, answers[kind]);
          else if (client.told(handle).at(-1)?.kind !== "failed") {
            assert.deepEqual(got, answers[kind].slice(0, got.length));
          }
        }
      },
    ),
    { numRuns: 12 },
  );
  assert.ok(lent > 8, `${lent} lent`);
});

/** A store that takes nothing, and whose reads take turns of the event loop. */
const lateStore = (store: BlobStore, turns: () => number): BlobStore => ({
  ...(store.key && { key: store.key }),
  put: async () => undefined,
  touch: (...asked) => store.touch(...asked),
  delete: (name) => store.delete(name),
  async get(...asked) {
    for (let turn = turns(); turn > 0; turn--) await nextTurn();
    return store.get(...asked);
  },
});
