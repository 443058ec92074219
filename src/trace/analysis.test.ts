import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { analyse } from "./analysis.ts";
import type { Activity, TracedSpan } from "./span.ts";

function span(activity: Activity, kind: string, start: number, end: number, rank = "r", layer = 0) {
  return { rank, activity, kind, start, end, layer } satisfies TracedSpan;
}

/** Two micro-batches of a layer: COMBINE hides wholly, DISPATCH to a half. */
const overlapped = [
  span("step", "STEP", 0, 100),
  span("compute", "ATTN", 0, 30),
  span("communication", "COMBINE", 10, 25),
  span("communication", "DISPATCH", 20, 40),
  span("compute", "MLP", 50, 90),
];

test("communication is covered where the rank computes, and exposed elsewhere", () => {
  const { ranks, kinds } = analyse(overlapped);
  assert.deepEqual(ranks, [
    {
      rank: "r",
      window: 100,
      compute: 70,
      communication: 30,
      covered: 20,
      exposed: 10,
      coveredShare: 20 / 30,
      idle: 20,
      waits: [],
    },
  ]);
  assert.deepEqual(kinds, [
    { kind: "MLP", spans: 1, total: 40, track: "compute" },
    { kind: "ATTN", spans: 1, total: 30, track: "compute" },
    { kind: "DISPATCH", spans: 1, total: 20, track: "communication", covered: 10, exposed: 10 },
    { kind: "COMBINE", spans: 1, total: 15, track: "communication", covered: 15, exposed: 0 },
  ]);
});

test("another rank's computation covers nothing", () => {
  const { ranks, kinds } = analyse([
    span("communication", "DISPATCH", 0, 10, "a"),
    span("compute", "MLP", 0, 10, "b"),
  ]);
  assert.deepEqual(
    ranks.map(({ covered, exposed, coveredShare }) => [covered, exposed, coveredShare]),
    [
      [0, 10, 0],
      [0, 0, null],
    ],
  );
  assert.equal(kinds.find(({ kind }) => kind === "DISPATCH")?.exposed, 10);
});

test("a step is no computation, and time between steps is not idle", () => {
  const { steps, ranks } = analyse([
    span("step", "STEP", 0, 10),
    span("communication", "DISPATCH", 2, 4),
    span("step", "STEP", 50, 60),
    span("compute", "MLP", 50, 59),
  ]);
  assert.equal(steps, 2);
  const [{ window, covered, idle }] = ranks;
  assert.deepEqual([window, covered, idle], [20, 0, 9]);
});

test("idle time says what was waited for, inside of steps and between them", () => {
  const [{ window, idle, waits }] = analyse([
    span("waiting", "REQUESTS", 0, 10),
    span("step", "STEP", 12, 40),
    span("compute", "ATTN", 12, 20),
    span("waiting", "MASK", 18, 30),
    span("compute", "SAMPLE", 35, 40),
    span("waiting", "UNIT", 40, 44),
  ]).ranks;
  assert.deepEqual([window, idle], [42, 29]);
  assert.deepEqual(waits, [
    { kind: "REQUESTS", idle: 10 },
    { kind: "MASK", idle: 10 },
    { kind: "UNIT", idle: 4 },
  ]);
});

test("without steps the window reaches from the first start to the last end", () => {
  const [{ window, idle }] = analyse([
    span("compute", "b", 30, 40),
    span("compute", "a", 5, 10),
    span("communication", "c", 8, 20),
  ]).ranks;
  assert.deepEqual([window, idle], [35, 10]);
});

test("streams that compute at once count once", () => {
  const [{ compute }] = analyse([span("compute", "a", 0, 10), span("compute", "b", 5, 12)]).ranks;
  assert.equal(compute, 12);
});

test("layers are in order, and so are a layer's spans, over ranks and steps", () => {
  const { layers } = analyse([
    span("compute", "SHARED", 3, 4, "a", 1),
    span("compute", "ATTN", 0, 2, "a", 1),
    span("compute", "ATTN", 0, 5, "b", 1),
    span("compute", "ATTN", 0, 1, "a", 0),
    { rank: "a", activity: "compute", kind: "HEAD", start: 8, end: 9 },
  ]);
  assert.deepEqual(layers, [
    { layer: 0, kinds: [{ kind: "ATTN", spans: 1, total: 1 }] },
    {
      layer: 1,
      kinds: [
        { kind: "ATTN", spans: 2, total: 7 },
        { kind: "SHARED", spans: 1, total: 1 },
      ],
    },
  ]);
});

const spans = fc.array(
  fc
    .record({
      activity: fc.constantFrom<Activity>("step", "compute", "communication"),
      start: fc.nat({ max: 30 }),
      length: fc.nat({ max: 10 }),
    })
    .map(({ activity, start, length }) => span(activity, activity, start, start + length)),
  { minLength: 1, maxLength: 12 },
);

test("a rank's times are those that counting units gives", () => {
  fc.assert(
    fc.property(spans, (given) => {
      const during = (activity: Activity) => (unit: number) =>
        given.some((each) => each.activity === activity && each.start <= unit && unit < each.end);
      const units = Array.from({ length: 40 }, (_, unit) => unit);
      const count = (holds: (unit: number) => boolean) => units.filter(holds).length;
      const [computing, communicating] = [during("compute"), during("communication")];
      const [times] = analyse(given).ranks;
      assert.equal(times.compute, count(computing));
      assert.equal(times.communication, count(communicating));
      assert.equal(times.covered + times.exposed, times.communication);
      assert.equal(
        times.covered,
        count((unit) => computing(unit) && communicating(unit)),
      );
      if (!given.some(({ activity }) => activity === "step")) return;
      const stepping = during("step");
      assert.equal(times.window, count(stepping));
      assert.equal(
        times.idle,
        count((unit) => stepping(unit) && !computing(unit) && !communicating(unit)),
      );
    }),
  );
});
