import assert from "node:assert/strict";
import { test } from "node:test";
import { parseTopology } from "../../cluster/index.ts";
import type { EngineStats } from "../messages.ts";
import { ExpertPlacements } from "./expert-placements.ts";

/** Two units of two ranks each; the two experts that are chosen most are side by side. */
const inOrder = [
  [0, 1, 2, 3],
  [0, 1, 2, 3],
];
const createPlacements = () =>
  new ExpertPlacements({
    topology: parseTopology("combined=2x2"),
    nodeOfRank: [0, 0, 0, 0],
    placements: [inOrder, null],
    groups: 1,
    expertPolicy: "best",
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

test("experts move for what was counted, once, in units that share them", () => {
  const placements = createPlacements();
  const counted = [stats(uneven), none, stats(uneven), none];
  const [move, ...others] = placements.rebalance(counted);
  assert.deepEqual([move.unit, move.version, move.before, others], [0, 1, 1.8, []]);
  assert.equal(move.after, 1);
  assert.deepEqual(placements.current, [move.placement, null]);
  assert.deepEqual(placements.rebalance(counted), []);
  // Of those that are now side by side.
  const turned = uneven.map((layer, l) => {
    const together = move.placement[l].slice(0, 2);
    return layer.map((load, expert) => load + (together.includes(expert) ? 10 : 0));
  });
  assert.equal(placements.rebalance([stats(turned), none, none, none])[0].version, 2);
});

test("nothing moves for ranks in their first step, and the others' counts are not lost", () => {
  const placements = createPlacements();
  for (const early of [none, stats(uneven.slice(0, 1))]) {
    assert.deepEqual(placements.rebalance([early, none, none, none]), []);
  }
  const moves = placements.rebalance([stats(uneven.slice(0, 1)), stats(uneven), none, none]);
  assert.equal(moves.length, 1);
});

test("a unit that has lost a rank stays as it is", () => {
  const placements = createPlacements();
  const counted = [stats(uneven), stats(uneven, "its node is lost"), none, none];
  assert.deepEqual(placements.rebalance(counted), []);
  assert.deepEqual(placements.current, [inOrder, null]);
});
