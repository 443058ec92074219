import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { scaleFor, unitsOf, type ScaleRule, type ScaleState } from "./scale.ts";
import { parseScaleSchedule, scheduledUnits } from "./scale-schedule.ts";

const MINUTE = 60_000;
const rule: ScaleRule = {
  always: { prefill: 1, decode: 0 },
  group: { prefill: 2, decode: 1 },
  ...{ leastGroups: 1, mostGroups: 5 },
  carries: { prefill: 100, decode: 100 },
  ...{ slack: 0.1, patienceMs: 15 * MINUTE },
};

/** Decisions a quarter of an hour apart, on as much for decode units and none for others. */
function decide(demands: readonly number[], start: ScaleState): number[] {
  let state = start;
  return demands.map((decode, i) => {
    state = scaleFor({ prefill: 0, decode, at: i * 15 * MINUTE }, state, rule);
    return state.groups;
  });
}

test("groups come at once for what is expected, whichever kind of unit needs them", () => {
  assert.deepEqual(decide([100, 100, 101], { groups: 1 }), [1, 1, 2]);
  assert.deepEqual(decide([100, 160], { groups: 1 }), [1, 3], "220 are expected");
  const prompts = { prefill: 301, decode: 0, at: 0 };
  assert.equal(scaleFor(prompts, { groups: 1 }, rule).groups, 2);
  assert.deepEqual(unitsOf(rule, 2), { prefill: 5, decode: 2 });
  assert.deepEqual(decide([9999], { groups: 1 }), [5]);
});

test("groups go when fewer have had slack for long enough, never below the least", () => {
  assert.deepEqual(decide([300, 185, 185], { groups: 3 }), [3, 3, 3], "no slack with two");
  assert.deepEqual(decide([300, 180, 180], { groups: 3 }), [3, 3, 2]);
  assert.deepEqual(decide([180, 280, 180, 180], { groups: 3 }), [3, 4, 4, 2], "it rose meanwhile");
  assert.deepEqual(decide([0, 0], { groups: 5 }), [5, 1]);
});

test("a demand that wavers by less than the slack moves nothing after the first decision", () =>
  fc.assert(
    fc.property(
      fc.double({ min: 60, max: 440, noNaN: true }),
      fc.array(fc.double({ min: 0.98, max: 1.02, noNaN: true }), { minLength: 8, maxLength: 40 }),
      (mean, wavers) => {
        const groups = decide([mean * 1.04, ...wavers.map((each) => each * mean)], { groups: 1 });
        const changes = groups.slice(1).filter((count, i) => count !== groups[i]);
        assert.ok(changes.length <= 2, groups.join(" "));
      },
    ),
  ));

test("units always carry what is asked, up to the most", () =>
  fc.assert(
    fc.property(fc.array(fc.nat(700), { maxLength: 50 }), (demands) => {
      for (const [i, groups] of decide(demands, { groups: 1 }).entries()) {
        assert.ok(groups === 5 || groups * 100 >= demands[i]);
      }
    }),
  ));

test("a schedule says what serves at any time of its day", () => {
  const schedule = parseScaleSchedule(
    "# by Beijing's clock\nUTC+08:00\n\n08:30 prefill=29,decode=9\n00:00 decode=7,prefill=23 # night\n",
  );
  const at = (time: string) => scheduledUnits(schedule, Date.parse(time));
  assert.deepEqual(at("2025-02-27T12:00:00+08:00"), { prefill: 29, decode: 9 });
  assert.deepEqual(at("2025-02-27T15:59:59Z"), { prefill: 29, decode: 9 });
  assert.deepEqual(at("2025-02-27T16:00:00Z"), { prefill: 23, decode: 7 });
  assert.deepEqual(at("2025-02-28T08:29:59+08:00"), { prefill: 23, decode: 7 });
  const once = parseScaleSchedule("12:00 prefill=1,decode=1");
  assert.deepEqual(scheduledUnits(once, 0), { prefill: 1, decode: 1 });
  const [{ units }] = parseScaleSchedule("12:00 prefill=1024,decode=1").entries;
  assert.deepEqual(units, { prefill: 1024, decode: 1 });
});

test("what is no schedule is refused by its line", () => {
  for (const [text, message] of [
    ["", /expected a line such as/],
    ["\n8:30 prefill=1,decode=1", /line 2: expected 08:30/],
    ["24:00 prefill=1,decode=1", /line 1/],
    ["08:30 prefill=1", /line 1: expected prefill and decode/],
    ["08:30 prefill=0,decode=1", /line 1: expected prefill=29/],
    [
      "08:30 prefill=1,decode=1025",
      /^line 1: 08:30: expected at most 1024 units, got decode=1025$/,
    ],
    ["08:30 prefill=1,decode=123456", /at most 1024 units/],
    ["08:30 prefill=1,prefill=2", /line 1: expected prefill=29/],
    ["08:30 prefill=1,decode=1\n08:30 prefill=2,decode=2", /08:30 is there twice/],
  ] as const) {
    assert.throws(() => parseScaleSchedule(text), { message });
  }
});
