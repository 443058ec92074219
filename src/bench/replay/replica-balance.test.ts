import assert from "node:assert/strict";
import { test } from "node:test";
import { randomSource } from "../../kernels/index.ts";
import { replicaBalance } from "./replica-balance.ts";

const TOKENS = 3 * 256;

/** Low experts are chosen more often than high ones. */
const routing = [1, 2].map((seed) => {
  const random = randomSource(seed);
  const choose = () => {
    const first = Math.floor(14 * random() ** 2);
    return [first, first + 1 + Math.floor(2 * random())];
  };
  return Int32Array.from(Array.from({ length: TOKENS }, choose).flat());
});

const setting = { experts: 16, topK: 2, ranks: 4, windowTokens: 256, batchTokens: 64 };

test("the more is known of a batch the less its busiest rank gets, down to the bound", () => {
  const balance = replicaBalance(routing, { ...setting, redundant: 8 });
  const lessAndLess = [
    balance.eplb,
    balance["best + waterfill, each sender alone"],
    balance["best + waterfill"],
    balance["best + LP"],
    balance.bound,
  ];
  assert.deepEqual(
    lessAndLess,
    lessAndLess.toSorted((a, b) => b - a),
  );
  assert.ok(lessAndLess[0] > lessAndLess[1] && balance.bound >= 1);
});

test("without redundant experts there is nothing to choose", () => {
  const balance = replicaBalance(routing, { ...setting, redundant: 0 });
  assert.equal(balance["best + LP"], balance.best);
  assert.equal(balance["eplb + waterfill"], balance.eplb);
  assert.ok(balance.bound <= balance.best);
});
