import assert from "node:assert/strict";
import { test } from "node:test";
import type { StatusSnapshot, UnitStatus } from "../src/gateway/status/status-snapshot.ts";
import { healthOf, stateOf } from "./health.ts";

/** Two units of two ranks. */
const status = (
  lost: number[],
  change: Partial<StatusSnapshot> = {},
  states: UnitStatus["state"][] = ["serving", "serving"],
) => {
  const units = states.map((state, unit) => ({
    ...{ unit, state, role: "decode" },
    ranks: [2 * unit, 2 * unit + 1].map((rank) => ({ rank, lost: lost.includes(rank) })),
  }));
  return { engine: "up", draining: false, units, ...change } as unknown as StatusSnapshot;
};

test("a cluster is well only while nothing of it is missing or changing", () => {
  assert.deepEqual(healthOf(status([])), { state: "well", says: "live" });
  assert.deepEqual(healthOf(status([2])), { state: "ill", says: "rank 2 is lost" });
  assert.equal(healthOf(status([0, 1, 3])).says, "ranks 0, 1 and 3 are lost");
  assert.equal(healthOf(status([], { draining: true })).state, "changing");
  assert.equal(healthOf(status([1], { draining: true })).state, "ill");
  assert.match(healthOf(status([], { engine: "down" })).says, /does not answer/);
});

test("units that are lost, start or drain are told of", () => {
  const says = (state: UnitStatus["state"]) => healthOf(status([], {}, ["serving", state]));
  assert.deepEqual(says("lost"), { state: "ill", says: "decode unit 1 is lost" });
  assert.deepEqual(says("starting"), { state: "changing", says: "decode unit 1 is starting" });
  assert.deepEqual(says("draining"), { state: "changing", says: "decode unit 1 is draining" });
});

test("a unit is as it says, and partly lost where it serves without some ranks", () => {
  const [first, second] = status([0], {}, ["serving", "starting"]).units;
  assert.deepEqual([first, second].map(stateOf), ["partly lost", "starting"]);
  assert.equal(stateOf(status([2], {}, ["serving", "lost"]).units[1]), "lost");
});
