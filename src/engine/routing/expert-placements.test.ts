import assert from "node:assert/strict";
import { test } from "node:test";
import { type Clock, parseTopology, systemClock } from "../../cluster/index.ts";
import type { EngineStats } from "../messages.ts";
import { ExpertPlacements } from "./expert-placements.ts";

/** Two units of two ranks each; the two experts that are chosen most are side by side. */
const inOrder = [
  [0, 1, 2, 3],
  [0, 1, 2, 3],
];
const createPlacements = (clock: Pick<Clock, "soon"> = systemClock) =>
  new ExpertPlacements({
    topology: parseTopology("combined=2x2"),
    nodeOfRank: [0, 0, 0, 0],
    placements: [inOrder, null],
    groups: 1,
    ...{ expertPolicy: "best", clock },
  });

const stats = (expertLoads: number[][], lost?: string) =>
  ({
    traffic: { rowsTo: [], bytesTo: [], expertLoads },
    ...(lost !== undefined && { lost }),
  }) as unknown as EngineStats;
const none = stats([]);

const uneven = [
  [9, 9, 1, 1],
  [9, 9, 1, 1],
];

test("experts move for what was counted, once, in units that share them", async () => {
  const placements = createPlacements();
  const counted = [stats(uneven), none, stats(uneven), none];
  const [move, ...others] = await placements.rebalance(counted);
  assert.deepEqual([move.unit, move.version, move.before, others], [0, 1, 1.8, []]);
  assert.equal(move.after, 1);
  assert.deepEqual([placements.of(0), placements.of(1)], [move.placement, null]);
  assert.deepEqual(await placements.rebalance(counted), []);
  // Of those that are now side by side.
  const turned = uneven.map((layer, l) => {
    const together = move.placement[l].slice(0, 2);
    return layer.map((load, expert) => load + (together.includes(expert) ? 10 : 0));
  });
  assert.equal((await placements.rebalance([stats(turned), none, none, none]))[0].version, 2);
});

test("nothing moves for ranks in their first step, and the others' counts are not lost", async () => {
  const placements = createPlacements();
  for (const early of [none, stats(uneven.slice(0, 1))]) {
    assert.deepEqual(await placements.rebalance([early, none, none, none]), []);
  }
  const moves = await placements.rebalance([stats(uneven.slice(0, 1)), stats(uneven), none, none]);
  assert.equal(moves.length, 1);
});

test("a unit that has lost a rank stays as it is", async () => {
  const placements = createPlacements();
  const counted = [stats(uneven), stats(uneven, "its node is lost"), none, none];
  assert.deepEqual(await placements.rebalance(counted), []);
  assert.deepEqual(placements.of(0), inOrder);
});

/** What two ranks have counted after so many windows in which the experts were chosen so often. */
const after = (windows: number, loads: number[], steps = windows) => {
  const counted = stats([loads, loads].map((layer) => layer.map((load) => windows * load)));
  return [{ ...counted, steps }, { ...none, steps }, none, none] as EngineStats[];
};
const hot = [9000, 9000, 100, 100];
const WINDOW = 10_000;

test("a unit moves a layer's experts by itself once a window has shown that it pays", () => {
  const placements = createPlacements();
  assert.deepEqual(placements.balance(after(1, hot), 0), []);
  assert.deepEqual(placements.balance(after(2, hot), WINDOW - 1), []);
  const [move] = placements.balance(after(2, hot), WINDOW);
  assert.deepEqual([move.unit, move.version], [0, 1]);
  assert.ok(move.before > 1.9 && move.after < 1.02);
  assert.notDeepEqual(move.placement[0], inOrder[0]);
  assert.deepEqual(move.placement[1], inOrder[1], "one layer at a time");
});

test("the next layer moves only when the unit has stepped, and then nothing moves any more", () => {
  const placements = createPlacements();
  placements.balance(after(1, hot), 0);
  assert.equal(placements.balance(after(2, hot, 5), WINDOW).length, 1);
  assert.deepEqual(placements.balance(after(2, hot, 5), WINDOW + 1), []);
  const [move] = placements.balance(after(2, hot, 6), WINDOW + 2);
  assert.notDeepEqual(move.placement[1], inOrder[1]);
  for (let look = 3; look < 20; look++) {
    assert.deepEqual(placements.balance(after(look, hot), look * WINDOW), []);
  }
});

test("what was chosen too rarely to pay for the reads moves nothing", () => {
  const placements = createPlacements();
  const rare = hot.map((load) => load / 1000);
  for (let look = 1; look < 10; look++) {
    assert.deepEqual(placements.balance(after(look, rare), look * WINDOW), []);
  }
});

test("others have their turn after each layer's search, and a unit that ends meanwhile is left alone", async () => {
  const turns: (() => void)[] = [];
  const placements = createPlacements({ soon: (turn) => turns.push(turn) });
  const counted = [stats(uneven), none, stats(uneven), none];
  const take = async () => {
    await new Promise((resolve) => setImmediate(resolve));
    turns.shift()?.();
  };
  const first = placements.rebalance(counted);
  await take();
  assert.deepEqual(await placements.rebalance(counted), [], "it is being placed");
  assert.deepEqual(placements.of(0), inOrder, "the second layer is still to be searched");
  await take();
  assert.equal((await first).length, 1);
  const second = placements.rebalance([
    stats(uneven.map((layer) => layer.toReversed())),
    none,
    none,
    none,
  ]);
  await take();
  placements.delete(0);
  await take();
  assert.deepEqual(await second, []);
});
