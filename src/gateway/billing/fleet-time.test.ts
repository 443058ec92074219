import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { FleetTime } from "./fleet-time.ts";
import { requestRecord, at, topologyRecord } from "./ledger-fixtures.ts";
import type { LedgerRecord } from "./ledger-record.ts";

const HOUR = 3_600_000;

function hoursOf(records: readonly LedgerRecord[], since = -Infinity, until = Infinity): number[] {
  const fleet = new FleetTime(since, until);
  for (const record of records) fleet.add(record);
  const { prefill, decode, combined, accelerators } = fleet.nodeTime;
  return [prefill, decode, combined, accelerators].map((time) => time / HOUR);
}

test("node counts are integrated from change to change", () => {
  const units = (prefillNodes: number, decodeNodes: number) => ({
    ...{ prefillNodes, decodeNodes, combinedNodes: 0 },
  });
  assert.deepEqual(
    hoursOf([
      topologyRecord("01:00:00", "start", units(4, 18)),
      topologyRecord("02:00:00", "change", units(8, 36)),
      topologyRecord("02:30:00", "alive", units(8, 36)),
      topologyRecord("04:00:00", "stop"),
      topologyRecord("06:00:00", "start", units(4, 18)),
      topologyRecord("07:00:00", "stop"),
    ]),
    [4 + 16 + 4, 18 + 72 + 18, 0, (22 + 88 + 22) * 8],
  );
});

test("after a crash the nodes have served until their last record and no longer", () => {
  const crash = [
    topologyRecord("01:00:00", "start"),
    topologyRecord("02:00:00", "alive"),
    requestRecord({ time: at("02:30:00") }),
    topologyRecord("09:00:00", "start"),
    topologyRecord("10:00:00", "stop"),
  ];
  assert.deepEqual(hoursOf(crash), [0, 0, 2.5, 20]);
  assert.deepEqual(hoursOf(crash.slice(0, 3)), [0, 0, 1.5, 12]);
});

test("a clock that is set back counts no time twice", () => {
  assert.deepEqual(
    hoursOf([
      topologyRecord("01:00:00", "start"),
      topologyRecord("03:00:00", "alive"),
      topologyRecord("02:00:00", "alive"),
      topologyRecord("04:00:00", "stop"),
    ]),
    [0, 0, 3, 24],
  );
});

test("adjoining periods add up to the whole", () => {
  const story = [
    topologyRecord("01:00:00", "start"),
    topologyRecord("05:00:00", "change", { combinedNodes: 7 }),
    topologyRecord("09:00:00", "stop"),
    topologyRecord("11:00:00", "start", { combinedNodes: 3 }),
    topologyRecord("12:00:00", "stop"),
  ];
  const seconds = fc.integer({ min: 0, max: 24 * 3600 });
  fc.assert(
    fc.property(seconds, seconds, (one, other) => {
      const [a, b] = [one, other]
        .map((second) => at("00:00:00") + second * 1000)
        .toSorted((x, y) => x - y);
      const parts = [hoursOf(story, -Infinity, a), hoursOf(story, a, b), hoursOf(story, b)];
      const sum = parts.reduce((total, [, , combined]) => total + combined * HOUR, 0);
      assert.equal(Math.round(sum), (4 + 28 + 3) * HOUR);
    }),
  );
});
