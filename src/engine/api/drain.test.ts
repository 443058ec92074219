import assert from "node:assert/strict";
import { test } from "node:test";
import { ManualClock } from "../../cluster/fixtures.ts";
import { tinyFixtures } from "../../model/fixtures.ts";
import { readConfig } from "../../model/index.ts";
import type { TimedEvent } from "../messages.ts";
import { contextModel, inVirtualTime } from "./context-model-fixtures.ts";
import { answer, request, untimed } from "./fixtures.ts";
import {
  openVirtual,
  runClock,
  type VirtualOptions,
  type VirtualRanks,
} from "./virtual-fixtures.ts";

const [{ directory }] = tinyFixtures().filter(({ name }) => name === "v3");
const config = { ...(await readConfig(directory)), maxPositions: 1024, vocabSize: 24 };
const STEP_MS = 100;
/** A step for each token: some end within the time that a drained unit has, some do not. */
const lengths = [40, 150, 280, 380, 500, 700];
const asked = lengths.map((maxTokens, i) =>
  request([1, 2, 3, i], {
    maxTokens,
    sampling: { ...request([]).sampling, temperature: 0.9, seed: i },
  }),
);

/** All are asked for at once; after a second something happens. */
async function serve(
  options: Pick<VirtualOptions, "topology"> & Partial<VirtualOptions>,
  happens: (ranks: VirtualRanks, clock: ManualClock) => void = () => undefined,
) {
  const clock = new ManualClock();
  const moved: number[] = [];
  const { engine, ranks } = await openVirtual({
    ...{ config, clock, stepRows: 32, linkMs: () => 1 },
    core: () => ({
      model: inVirtualTime(
        contextModel(config, 32),
        () => new Promise<void>((resolve) => clock.after(STEP_MS, resolve)),
      ),
      pages: 100,
    }),
    observer: { moved: (requests) => moved.push(requests) },
    ...options,
  });
  const tell = async (one: (typeof asked)[number]) => {
    const events: TimedEvent[] = [];
    for await (const event of engine.generate(one)) events.push(event);
    return events;
  };
  const told = Promise.all(asked.map(tell));
  clock.after(1000, () => happens(ranks, clock));
  await runClock(clock);
  return { told: await told, moved, engine, drainedAt: ranks.drainedAt };
}

const drain = async (topology: string, unit: number) => {
  const { drainedAt, ...others } = await serve({ topology }, (ranks) => ranks.drain(unit));
  return { ...others, emptiedAt: drainedAt.get(unit) };
};

const { told: undisturbed } = await serve({ topology: "combined=1x1" });
const resumed = (events: readonly TimedEvent[]) =>
  events.filter(({ kind }) => kind === "resumed").length;

for (const [topology, unit] of [
  ["combined=2x1", 0],
  ["prefill=1x1,decode=2x1", 1],
] as const) {
  test(`of a drained unit others take over what is not soon done: ${topology}`, async () => {
    const { told, moved, emptiedAt = Infinity } = await drain(topology, unit);
    for (const [i, events] of told.entries()) {
      assert.deepEqual(answer(untimed(events)), answer(untimed(undisturbed[i])), `request ${i}`);
      assert.ok(lengths[i] * STEP_MS > 31_000 || resumed(events) === 0, `request ${i} is moved`);
    }
    assert.ok(moved.length === 1 && moved[0] >= 1, `moved ${moved.join()}`);
    assert.ok(emptiedAt >= 31_000 && emptiedAt < 31_000 + 2 * STEP_MS, `empty at ${emptiedAt}`);
  });
}

test("a prefill unit is empty once others have its prompts, however long the answers are", async () => {
  const { told, moved, emptiedAt } = await drain("prefill=2x1,decode=1x1", 0);
  assert.deepEqual(told.map(untimed).map(answer), undisturbed.map(untimed).map(answer));
  assert.deepEqual([moved, emptiedAt], [[], 1000]);
});

test("the only unit finishes what it has, as there is no other", async () => {
  const { told, moved, emptiedAt = 0 } = await drain("combined=1x1", 0);
  assert.deepEqual(told.map(untimed).map(answer), undisturbed.map(untimed).map(answer));
  assert.deepEqual(moved, []);
  assert.ok(emptiedAt >= Math.max(...lengths) * STEP_MS);
});

test("a unit whose node dies while it drains is gone, and others have what it computed", async () => {
  const { told, engine } = await serve(
    { topology: "combined=2x1", nodes: [1, 1], startMs: () => 100 },
    (ranks, clock) => {
      ranks.scale({ combined: 1 });
      clock.after(200, () => ranks.loseNode(1, { reason: "its process was killed" }));
    },
  );
  assert.deepEqual(told.map(untimed).map(answer), undisturbed.map(untimed).map(answer));
  assert.deepEqual(
    engine.units.map(({ unit, state }) => [unit, state]),
    [[0, "serving"]],
  );
});

test("what a drained unit has when no other serves is moved later, once one does", async () => {
  const { told, moved, drainedAt } = await serve(
    { topology: "combined=2x1", startMs: () => 40_000 },
    (ranks) => {
      ranks.drain(1);
      ranks.lose([0], { reason: "its thread has ended" });
    },
  );
  assert.deepEqual(told.map(untimed).map(answer), undisturbed.map(untimed).map(answer));
  assert.deepEqual(moved, [3, 1]);
  assert.ok((drainedAt.get(1) ?? 0) < 61_000 + 2 * STEP_MS, `empty at ${drainedAt.get(1)}`);
});
