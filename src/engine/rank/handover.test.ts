import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { greedySampling } from "../../kernels/index.ts";
import { encodeTransfer, TransferError, type TransferMessage } from "../../kv-cache/index.ts";
import { tinyFixtures } from "../../model/fixtures.ts";
import { loadModel } from "../../model/index.ts";
import { answer, request } from "../api/fixtures.ts";
import type { GenerationEvent, AskedRequest } from "../messages.ts";
import { admitted } from "../requests.ts";
import { EngineCore } from "./core.ts";
import { lateKernels, Neighbours, OneThreadClient, type Visitor } from "./fixtures.ts";

const [fixture] = tinyFixtures().filter(({ name }) => name === "v3");
const promptOf = (length: number, from = 0) =>
  Array.from({ length }, (_, i) => fixture.tokens[(from + i) % fixture.tokens.length]);

/** A model for each rank; cores of different tests use them one after the other. */
const models = await Promise.all(
  [0, 1, 2, 3].map(() =>
    loadModel(fixture.directory, { kernels: lateKernels(), policy: "f32", maxRows: 64 }),
  ),
);

/** Ranks, each with so many pages. */
function openRanks(pages: readonly number[], delay?: () => number) {
  const neighbours = new Neighbours(delay);
  for (const [rank, count] of pages.entries()) {
    const transport = neighbours.transport(rank);
    neighbours.cores.set(rank, new EngineCore({ model: models[rank], pages: count, transport }));
  }
  const cores = [...neighbours.cores.values()];
  /** Handles of what was sent, by kind of message. */
  const sent = (kind: TransferMessage["kind"]) =>
    neighbours.sent.filter((each) => each.kind === kind).map(({ handle }) => handle);
  return { neighbours, cores, sent, client: new OneThreadClient(neighbours) };
}

async function alone(one: AskedRequest): Promise<GenerationEvent[]> {
  const core = new EngineCore({ model: models[0], pages: 16 });
  core.submit(0, one);
  const told: GenerationEvent[] = [];
  while (!core.idle) told.push(...(await core.step()).map(({ event }) => event));
  return answer(told);
}

const expectEmpty = ({ stats }: EngineCore) =>
  assert.deepEqual([stats.pagesInUse, stats.running, stats.waiting], [0, 0, 0]);

test("KV is sent once the decode rank has pages for it; until then the prefill rank keeps it", async () => {
  const { client, cores, sent } = openRanks([8, 4]);
  const [first, second] = [
    request(promptOf(130), { maxTokens: 20 }),
    request(promptOf(140, 7), { maxTokens: 3 }),
  ];
  client.submit(0, first);
  client.submit(1, second);
  await client.run(() => client.told(1).some(({ kind }) => kind === "token"));
  await client.run(() => cores[0].stats.pagesInUse === 3);
  assert.deepEqual(sent("grant"), [0]);
  assert.ok(sent("entries").every((handle) => handle === 0));
  const { waiting, running } = cores[0].stats;
  assert.deepEqual([waiting, running], [1, 0], "held and counted");
  await client.run();
  assert.deepEqual(sent("grant"), [0, 1]);
  assert.deepEqual(answer(client.told(0)), await alone(first));
  assert.deepEqual(answer(client.told(1)), await alone(second));
  cores.forEach(expectEmpty);
});

test("layers are sent while later ones are computed, where there was room in time", async () => {
  const { client, cores, neighbours } = openRanks([8, 8]);
  client.submit(0, request(promptOf(186), { maxTokens: 2 }));
  const steps: number[] = [];
  neighbours.refuse = ({ kind }) => {
    if (kind === "entries") steps.push(cores[0].stats.steps);
  };
  await client.run();
  assert.equal(cores[0].stats.steps, 3);
  assert.ok(steps.includes(2), `sent during steps ${steps.join()}`);
});

test("what the decode rank holds of a prompt is not sent again", async () => {
  const { client, neighbours } = openRanks([16, 16]);
  const one = request(promptOf(186));
  client.submit(0, one);
  await client.run();
  client.submit(1, one);
  await client.run();
  const entries = neighbours.sent.flatMap((each) => (each.kind === "entries" ? [each] : []));
  const again = entries.filter(({ handle }) => handle === 1);
  assert.ok(again.length > 0 && again.every(({ first }) => first >= 128));
  assert.deepEqual(answer(client.told(1)), answer(client.told(0)));
});

test("an answer of one token needs no room on the decode rank", async () => {
  const { client, cores, sent } = openRanks([8, 8]);
  client.submit(0, request(promptOf(100), { maxTokens: 1 }));
  await client.run();
  assert.equal(answer(client.told(0)).length, 2);
  assert.deepEqual([sent("offer"), sent("entries"), sent("abandon")], [[], [], [0]]);
  cores.forEach(expectEmpty);
});

test("a prompt too long for what is free waits its turn, and shorter ones after it theirs", async () => {
  const { client, sent } = openRanks([16, 5]);
  for (const [handle, length] of [130, 250, 20, 30].entries()) {
    client.submit(handle, request(promptOf(length, handle), { maxTokens: 6 }));
  }
  await client.run();
  assert.deepEqual(sent("grant"), [0, 1, 2, 3]);
  for (const handle of [0, 1, 2, 3]) assert.equal(answer(client.told(handle)).length, 7);
});

test("a piece that cannot be sent ends its sequence by name, on both ranks, and no other", async () => {
  for (const kind of ["offer", "grant", "entries", "handover"]) {
    const { client, cores, neighbours } = openRanks([8, 8]);
    neighbours.refuse = (message) => {
      if (message.kind === kind && message.handle === 0) throw new Error(`no ${kind} today`);
    };
    client.submit(0, request(promptOf(70)));
    client.submit(1, request(promptOf(80, 5)));
    await client.run();
    const failure = { kind: "failed", code: "handover_failed", message: `no ${kind} today` };
    assert.deepEqual(client.told(0).at(-1), failure);
    assert.equal(answer(client.told(1)).length, 13);
    cores.forEach(expectEmpty);
  }
});

test("a rank that says what it should not is not believed", async () => {
  const { cores } = openRanks([8, 8]);
  const [, decode] = cores;
  const bytes = new Uint8Array(0);
  const entries = { kind: "entries", handle: 0, layer: 0, first: 0, count: 0, bytes } as const;
  const handover = { kind: "handover", handle: 0, token: 3 } as const;
  const refused = (rank: number, message: Parameters<typeof encodeTransfer>[0]) =>
    assert.throws(() => decode.receive(rank, encodeTransfer(message)), TransferError);
  refused(0, entries);
  decode.expect(0, admitted(request(promptOf(70))), 0);
  const offer = { kind: "offer", handle: 0, first: 0, count: 0, computeMs: 0 } as const;
  refused(2, offer);
  refused(0, entries);
  decode.receive(0, encodeTransfer(offer));
  refused(0, { ...entries, first: 1 });
  void decode.step();
  refused(0, { ...entries, first: 1 });
  refused(0, { ...entries, layer: 99 });
  refused(0, handover);
});

const visitor: fc.Arbitrary<Visitor> = fc.record({
  kind: fc.nat(3),
  at: fc.nat(30),
  prefillRank: fc.nat(1),
  decodeRank: fc.constantFrom(2, 3),
  patience: fc.option(fc.nat(60), { freq: 3 }),
});

test("whoever comes, leaves or is lost, every page comes back and answers stay the same", async () => {
  const kinds = [
    // Their answers need a page more than their prompts.
    request(promptOf(125), { maxTokens: 14 }),
    request(promptOf(60, 3), { maxTokens: 14 }),
    request(promptOf(200, 9), { maxTokens: 2 }),
    request(promptOf(125).with(100, 5), {
      maxTokens: 8,
      sampling: { ...greedySampling, temperature: 0.9, seed: 7 },
    }),
  ];
  const expected: GenerationEvent[][] = [];
  for (const kind of kinds) expected.push(await alone(kind));
  const loss = fc.record({ rank: fc.nat(3), at: fc.nat(80) });
  let preemptions = 0;
  let orphans = 0;
  await fc.assert(
    fc.asyncProperty(
      fc.array(visitor, { minLength: 3, maxLength: 7 }),
      fc.array(fc.integer({ min: 4, max: 5 }), { minLength: 4, maxLength: 4 }),
      fc.array(fc.nat(5), { minLength: 1, maxLength: 20 }),
      fc.option(loss),
      async (visitors, pages, delays, lost) => {
        let sends = 0;
        const ranks = openRanks(pages, () => delays[sends++ % delays.length]);
        const { client, neighbours } = ranks;
        await client.receive(visitors, kinds, lost, 100);
        for (const core of neighbours.cores.values()) {
          expectEmpty(core);
          preemptions += core.stats.preemptions;
        }
        for (const [handle, { kind, patience, prefillRank, decodeRank }] of visitors.entries()) {
          const told = client.told(handle);
          const got = answer(told);
          const last = told.at(-1);
          const hit = lost?.rank === prefillRank || lost?.rank === decodeRank;
          if (last?.kind === "failed") orphans++;
          if (patience === null && !hit) assert.deepEqual(got, expected[kind]);
          else assert.deepEqual(got, expected[kind].slice(0, got.length));
          if (last?.kind === "failed") assert.ok(hit && last.code === "rank_lost", last.message);
        }
      },
    ),
    { numRuns: 16, seed: 1 },
  );
  assert.ok(preemptions > 0 && orphans > 0, `${preemptions} preemptions, ${orphans} orphans`);
});
