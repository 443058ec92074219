import assert from "node:assert/strict";
import { test } from "node:test";
import type { StatusSnapshot } from "../src/gateway/status/status-snapshot.ts";
import { expertGroups, imbalance, recentChoices, unitImbalance } from "./expert-loads.ts";

/** A unit of ranks 4 and 5 with four experts, the last of them twice. */
const status = (choices: number[], sharesExperts = true) => {
  const physicalToLogical = sharesExperts ? [0, 1, 3, 2, 3, 0] : [0, 1, 2, 3];
  const unit = {
    ...{ sharesExperts, ranks: [{ rank: 4 }, { rank: 5 }] },
    experts: [{ layer: 1, physicalToLogical, choices }],
  };
  return { units: [unit] } as unknown as StatusSnapshot;
};

test("choices are those of the last seconds, or all where there were none lately", () => {
  const before = status([5, 0, 1, 1]);
  const lately = recentChoices([before, status([9, 0, 1, 3])], 0, 0);
  assert.deepEqual(lately, { choices: [4, 0, 0, 2], recent: true });
  assert.deepEqual(recentChoices([before, before], 0, 0), { choices: [5, 0, 1, 1], recent: false });
  const restarted = recentChoices([before, status([1, 1, 0, 0])], 0, 0);
  assert.deepEqual(restarted, { choices: [1, 1, 0, 0], recent: false });
  assert.deepEqual(recentChoices([], 0, 0).choices, []);
});

test("replicas share their expert's load, and each rank has its slots in order", () => {
  const { units } = status([4, 2, 6, 8]);
  const groups = expertGroups(units[0], units[0].experts[0], [4, 2, 6, 8]);
  assert.deepEqual(
    groups.map(({ name, experts }) => [name, experts.map(({ load }) => load)]),
    [
      ["rank 4", [2, 2, 4]],
      ["rank 5", [6, 4, 2]],
    ],
  );
  assert.equal(imbalance(groups), 1.2);
});

test("experts that every rank has are one group, and in no imbalance", () => {
  const { units } = status([4, 2, 6, 8], false);
  const groups = expertGroups(units[0], units[0].experts[0], [4, 2, 6, 8]);
  assert.deepEqual(
    groups.map(({ name, experts }) => [name, experts.length]),
    [["each of 2 ranks", 4]],
  );
  assert.equal(
    unitImbalance([status([0, 0, 0, 0], false), units[0] && status([1, 1, 1, 1], false)], 0),
    undefined,
  );
});

test("a unit's imbalance is the mean over layers in which experts were chosen lately", () => {
  assert.equal(unitImbalance([status([0, 0, 0, 0]), status([4, 2, 6, 8])], 0), 1.2);
  assert.equal(unitImbalance([status([4, 2, 6, 8]), status([4, 2, 6, 8])], 0), undefined);
});
