import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import fc from "fast-check";
import { PeerLostError, TransportClosedError } from "../cluster/index.ts";
import {
  EXPERTS,
  openUnit,
  oracle,
  placements,
  shareOf,
  sharedMemory as way,
  threeActs,
  weightsOf,
  type Member,
  type RankRows,
} from "./fixtures.ts";
import { clockSince, spanNames, SpanRecorder } from "../trace/index.ts";
import { orderedPlacement } from "./placement.ts";

const { skip } = way;
const policy = "w8a16";
const RANKS = 3;
const ordered = orderedPlacement(EXPERTS, RANKS);

let alive: NodeJS.Timeout;
before(() => (alive = setInterval(() => undefined, 1000)));
after(() => clearInterval(alive));

const shares = (seed: number): RankRows[] => fc.sample(shareOf(EXPERTS), { numRuns: RANKS, seed });

function open(
  t: { after(run: () => void): void },
  change: Partial<Parameters<typeof openUnit>[1]> = {},
) {
  const unit = openUnit(way, { policy, ranks: RANKS, placementOf: () => ordered, ...change });
  t.after(() => unit.forEach((member) => member.close()));
  return unit;
}

/** A step of some layers, all enqueued before anything is awaited. */
async function enqueue(member: Member, layers: number, share: RankRows): Promise<void> {
  for (let layer = 0; layer < layers; layer++) {
    await threeActs(member.experts, member.batchOf(layer, share));
  }
}

/** A step that waits in its stream for ranks that do not come. */
async function waiting(member: Member): Promise<{ readonly step: Promise<void> }> {
  await enqueue(member, 4, shares(3)[0]);
  const step = member.stream.fence();
  step.catch(() => undefined);
  await sleep(5);
  return { step };
}

test(
  "a step of many layers is enqueued whole, and experts move between them",
  { skip },
  async (t) => {
    const placed = fc.sample(placements(RANKS), { numRuns: 20, seed: 2 });
    const unit = open(t, { placementOf: (layer) => placed[layer] });
    const own = shares(2);
    const outputs = await Promise.all(
      unit.map(async (member, rank) => {
        await enqueue(member, 19, own[rank]);
        return member.compute(19, own[rank]);
      }),
    );
    for (const [rank, share] of own.entries()) {
      assert.deepEqual(outputs[rank], await oracle(way, policy, share));
    }
  },
);

test("two micro-batches are under way at once", { skip }, async (t) => {
  const unit = open(t);
  const batches = [shares(3), shares(4)];
  const outputs = await Promise.all(
    unit.map(async (member, rank) => {
      const told: Buffer[] = [];
      for (let layer = 0; layer < 6; layer++) {
        const flights = [];
        for (const [microBatch, own] of batches.entries()) {
          flights.push(await member.experts.dispatch(member.batchOf(layer, own[rank], microBatch)));
        }
        for (const flight of flights) await flight.compute(weightsOf(layer));
        for (const [microBatch, flight] of flights.entries()) {
          told[microBatch] = await member.outputsOf(
            await flight.combine(),
            batches[microBatch][rank].rows,
          );
        }
      }
      return told;
    }),
  );
  for (const [microBatch, own] of batches.entries()) {
    for (const [rank, share] of own.entries()) {
      assert.deepEqual(outputs[rank][microBatch], await oracle(way, policy, share));
    }
  }
});

test("the loss of a rank ends the steps of those who wait for its rows", { skip }, async (t) => {
  const [first, second] = open(t);
  const steps = [await waiting(first), await waiting(second)];
  const lost = new PeerLostError(2, "its thread has ended");
  for (const { transport } of [first, second]) transport.lose(lost);
  for (const { step } of steps) await assert.rejects(step, lost);
  first.stream.reset();
  await assert.rejects(threeActs(first.experts, first.batchOf(0, shares(3)[0])), lost);
});

test("a transport that is closed ends a wait for rows", { skip }, async (t) => {
  const [first] = open(t);
  const { step } = await waiting(first);
  first.transport.close();
  await assert.rejects(step, TransportClosedError);
});

test("a step that is given up while it waits leaves nothing on the stream", { skip }, async (t) => {
  const [{ stream, ...first }] = open(t);
  const { step } = await waiting({ stream, ...first });
  stream.reset();
  await assert.rejects(step, /the stream was reset/);
  const x = Float32Array.of(1);
  stream.add(x, x, 1);
  await stream.fence();
  assert.equal(x[0], 2);
});

test(
  "waiting for other ranks' rows is the dispatch's time, not the experts'",
  { skip },
  async (t) => {
    const clock = clockSince(Date.now());
    const tracer = new SpanRecorder({ node: 0, rank: 0, clock });
    const unit = open(t, { tracer });
    const [share] = shares(3);
    const first = enqueue(unit[0], 1, share).then(() => unit[0].stream.fence());
    await sleep(5);
    const came = clock();
    await Promise.all(unit.slice(1).map((member) => member.compute(0, share)));
    await first;
    const { names, starts, ends } = tracer.take();
    // Each rank has recorded its three.
    const own = [...names.keys()].filter((i) => starts[i] < came);
    assert.deepEqual(
      own.map((i) => spanNames[names[i]]),
      ["DISPATCH"],
    );
    assert.ok(ends[own[0]] > came && ends.every((end, i) => end > starts[i]));
  },
);

test("a stream that waits for other ranks can be closed", { skip }, async (t) => {
  const [first] = open(t);
  const { step } = await waiting(first);
  first.stream.close();
  await assert.rejects(step, /closed/);
});

test(
  "more rows than ranks have room for are refused, or fail where they arrive",
  { skip },
  async (t) => {
    const unit = open(t, { unitRows: () => 1 });
    const row = { rows: 1, ids: Int32Array.of(0, 1, 2), values: new Float32Array(24) };
    const steps = unit.map((member) => member.compute(0, row));
    for (const step of steps) step.catch(() => undefined);
    await assert.rejects(steps[0], /groupArrived: 9 pairs arrived, there is room for 3/);
    for (const { stream } of unit) stream.close();
    await Promise.allSettled(steps);
    const [{ experts, batchOf }] = open(t);
    const many = { ...row, rows: 10, ids: new Int32Array(30), values: new Float32Array(240) };
    await assert.rejects(threeActs(experts, batchOf(0, many)), /at most 9 rows, got 10/);
  },
);
