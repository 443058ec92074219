import assert from "node:assert/strict";
import { test } from "node:test";
import type { Journey } from "../src/gateway/status/status-snapshot.ts";
import { overAt, placeAt } from "./journeys.ts";

/** Asked for at 1000, computed by rank 0 and then by rank 2. */
const slow: Journey = {
  ...{ number: 1, rank: 0, decodeRank: 2 },
  ...{ asked: 1000, started: 2000, prefilled: 4000, takenOver: 5000, ended: 9000 },
};
const HOP = 100;

const whereIs = (journey: Journey, now: number) => {
  const place = placeAt(journey, now, HOP);
  return place && (place.progress === 1 ? place.to : `${place.from} → ${place.to}`);
};

test("a request is at each station in turn, and on its way between", () => {
  const seen = [999, 1500, 2050, 3000, 4500, 6000, 9050, 9200].map((now) => whereIs(slow, now));
  assert.deepEqual(seen, [undefined, "api", "api → 0", 0, "0 → 2", 2, "2 → api", undefined]);
});

test("its hand-over takes as long as it took", () => {
  const progress = [4000, 4250, 4500, 4750].map((now) => placeAt(slow, now, HOP)?.progress ?? NaN);
  assert.deepEqual(
    progress.map((each) => Math.round(1000 * each)),
    [0, 156, 500, 844],
  );
});

test("one that is over sooner than it can be drawn still visits all stations", () => {
  const fast: Journey = { ...slow, started: 1000, prefilled: 1001, takenOver: 1002, ended: 1003 };
  const seen = [1050, 1150, 1250, 1350].map((now) => whereIs(fast, now));
  assert.deepEqual(seen, ["api → 0", "0 → 2", "2 → api", undefined]);
  assert.equal(overAt(fast, HOP), 1300);
});

test("one that is not yet taken over halts on the wire", () => {
  const { takenOver: _, ended: __, ...handed } = slow;
  assert.equal(placeAt(handed, 60_000, HOP)?.progress, 0.5);
  assert.equal(overAt(handed, HOP), undefined);
});

test("one that ends where its prompt was computed, or in the queue, goes back from there", () => {
  const { takenOver: _, ...short } = slow;
  assert.equal(whereIs({ ...short, ended: 4000 }, 4050), "0 → api");
  const { started: __, prefilled: ___, ...refused } = short;
  assert.equal(whereIs({ ...refused, ended: 4000 }, 4050), "api");
  assert.equal(whereIs({ ...refused, ended: 4000 }, 4200), undefined);
});

test("where nothing may move a request is at its station at once", () => {
  assert.deepEqual(placeAt(slow, 2000, 0), { from: "api", to: 0, progress: 1 });
});
