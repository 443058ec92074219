import assert from "node:assert/strict";
import { test } from "node:test";
import { balanced, imbalance, initialPlacement, loadsOf } from "./expert-balance.ts";

const config = {
  gate: { experts: 8, groups: 2 },
  layers: 3,
  firstDense: 1,
} as Parameters<typeof initialPlacement>[1];

const eplb = { physical: 8, groups: 2, policy: "eplb" } as const;
const unit = { role: "decode", ranks: 5, nodes: 1 } as const;

test("experts lie in order, redundant ones from the first, unless loads were recorded", () => {
  const inOrder = initialPlacement({ redundantExperts: 2 }, config, unit);
  assert.deepEqual(inOrder, [
    [0, 1, 2, 3, 4, 5, 6, 7, 0, 1],
    [0, 1, 2, 3, 4, 5, 6, 7, 0, 1],
  ]);
  const expertLoads = [
    [90, 1, 1, 1, 1, 1, 1, 1],
    [1, 1, 1, 1, 1, 1, 1, 90],
  ];
  const placed = initialPlacement({ redundantExperts: 2, expertLoads }, config, unit);
  for (const [layer, hot] of [0, 7].entries()) {
    assert.equal(placed[layer].filter((expert) => expert === hot).length, 3);
  }
  assert.ok(imbalance(expertLoads, placed, 5) < imbalance(expertLoads, inOrder, 5));
  assert.throws(
    () => initialPlacement({ expertLoads: [[1]] }, config, unit),
    /loads: expected 2 layers, got 1/,
  );
});

test("slots fill up to a multiple of the ranks", () => {
  const [map] = balanced([[8, 7, 6, 5, 4, 3, 2, 1]], eplb, { role: "prefill", ranks: 3, nodes: 2 });
  assert.equal(map.length, 9);
  assert.deepEqual(new Set(map), new Set([0, 1, 2, 3, 4, 5, 6, 7]));
});

test("prefill units keep a group of experts on one node, decode units do not", () => {
  const loads = [[9, 8, 7, 6, 1, 1, 1, 1]];
  const place = (role: "prefill" | "decode") =>
    balanced(loads, eplb, { role, ranks: 4, nodes: 2 })[0]
      .slice(0, 4)
      .sort((a, b) => a - b);
  assert.deepEqual(place("prefill"), [0, 1, 2, 3]);
  assert.notDeepEqual(place("decode"), [0, 1, 2, 3]);
});

test("loads of a unit are its ranks' sums; ranks that have not computed all layers count for nothing", () => {
  const stats = (expertLoads: number[][]) =>
    ({ traffic: { rowsTo: [], bytesTo: [], expertLoads } }) as unknown as Parameters<
      typeof loadsOf
    >[0][number];
  const whole = [
    stats([
      [1, 2],
      [3, 4],
    ]),
    stats([
      [10, 20],
      [30, 40],
    ]),
  ];
  const early = [stats([]), stats([[5, 5]])];
  assert.deepEqual(loadsOf([...early, ...whole], 2), [
    [11, 22],
    [33, 44],
  ]);
  assert.equal(loadsOf(early, 2), undefined);
});
