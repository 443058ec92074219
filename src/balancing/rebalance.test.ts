import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import {
  busiestPairs,
  isWorthMoving,
  mayBeWorthMoving,
  newExperts,
  predictLoads,
} from "./rebalance.ts";

test("the newest window counts most, and what never changes is predicted as it is", () => {
  assert.deepEqual(predictLoads([[[8, 100]], [[8, 100]], [[8, 100]]]), [[8, 100]]);
  assert.deepEqual(predictLoads([[[0]], [[90]]]), [[60]]);
  assert.deepEqual(predictLoads([[[90]], [[0]]]), [[30]]);
});

const RANKS = 2;
const from = [0, 1, 2, 3];
const to = [0, 2, 1, 3];

test("experts move if what the busiest rank is spared is more than what reading them costs", () => {
  const worth = { windows: 4, pairsPerMove: 100, leastShare: 0.02 };
  const moves = (hot: number) =>
    isWorthMoving([hot, hot, 10, 10], { from, to, ranks: RANKS }, worth);
  // Each rank reads one expert; four windows gain 4 × (hot − 10).
  assert.equal(moves(35), false);
  assert.equal(moves(36), true);
  assert.equal(moves(10), false);
});

test("a gain of hardly anything is not worth a move, however much is computed", () => {
  const loads = [10_000_000, 10_000_000, 9_900_000, 9_900_000];
  assert.equal(isWorthMoving(loads, { from, to, ranks: RANKS }), false);
});

test("what replicas can even out among themselves needs no move", () => {
  assert.equal(busiestPairs([60, 20, 20], [0, 1, 2, 0, 1, 2], 2), 50);
});

test("an expert that only changes its slot is not new to its rank", () => {
  assert.deepEqual(newExperts({ from: [0, 1, 2, 3], to: [1, 0, 0, 3], ranks: 2 }), [0, 1]);
});

test("what may not be worth moving is not, wherever to; what is even never may", () => {
  const placed = fc.shuffledSubarray([0, 0, 1, 2, 3, 3, 4, 5], { minLength: 8 });
  const loads = fc.array(fc.nat(2000), { minLength: 6, maxLength: 6 });
  let worth = 0;
  fc.assert(
    fc.property(loads, placed, placed, (loadsOf, before, after) => {
      if (!isWorthMoving(loadsOf, { from: before, to: after, ranks: RANKS })) return;
      worth++;
      assert.ok(mayBeWorthMoving(loadsOf, before, RANKS));
    }),
    { seed: 1, numRuns: 500 },
  );
  assert.ok(worth > 20, `${worth} were worth a move`);
  assert.equal(mayBeWorthMoving([5000, 5000, 5000, 5000], from, RANKS), false);
});
