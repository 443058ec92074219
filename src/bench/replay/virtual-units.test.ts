import assert from "node:assert/strict";
import { test } from "node:test";
import type { ScaleRule } from "../../balancing/index.ts";
import { VirtualUnits } from "./virtual-units.ts";

const rule: ScaleRule = {
  always: { prefill: 1, decode: 0 },
  group: { prefill: 1, decode: 1 },
  ...{ leastGroups: 1, mostGroups: 3, slack: 0, patienceMs: 0 },
  carries: { prefill: 1, decode: 1 },
};
const states = ({ all }: VirtualUnits) => all.map(({ state }) => state);

test("units that are to go hold their nodes until their last request has ended", () => {
  const units = new VirtualUnits(rule);
  assert.deepEqual([units.held("prefill"), units.held("decode")], [4, 3]);
  const [, , , last] = units.all;
  last.live = 1;
  units.scaleTo(2, 0);
  units.settle(0);
  assert.deepEqual([last.state, units.held("prefill"), units.held("decode")], ["draining", 4, 2]);
  assert.ok(units.closed.has(last.rank));
  last.live = 0;
  units.settle(1);
  assert.equal(units.held("prefill"), 3);
});

test("what was to go stays before others start, and those serve when they are ready", () => {
  const units = new VirtualUnits(rule);
  units.scaleTo(1, 0);
  units.all[2].live = 1;
  units.settle(0);
  units.scaleTo(3, 10);
  assert.equal(units.all[2].state, "serving");
  assert.deepEqual(states(units).filter((state) => state === "starting").length, 3);
  units.settle(129);
  assert.equal(units.closed.size, 3);
  units.settle(130);
  assert.equal(units.closed.size, 0);
});
