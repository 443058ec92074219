import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import {
  decideUnits,
  type LoadDecision,
  type LoadPolicy,
  type LoadState,
  type SeenUnits,
  type UnitKind,
} from "./load-scale.ts";

const MINUTE = 60_000;
const policy: LoadPolicy = {
  carries: { prefill: 1000, decode: 100 },
  ...{ least: 1, most: 5, everyMs: MINUTE, slack: 0.05, patienceMs: 15 * MINUTE },
};

interface Minute {
  /** Tokens a second. */
  readonly prefill: number;
  readonly decode: number;
  readonly problem?: string;
}

/** A fleet of which every minute is looked at; a unit that is wanted serves `startMinutes` later. */
function live(minutes: readonly Minute[], startMinutes = 0, room = Infinity) {
  const kinds: UnitKind[] = ["prefill", "decode"];
  const wanted = { prefill: 1, decode: 1, combined: 0 };
  const since = { prefill: 0, decode: 0, combined: 0 };
  const serving = { ...wanted };
  let tokens = { prefill: 0, decode: 0 };
  let state: LoadState = { kinds: {} };
  const decisions: LoadDecision[] = [];
  const counts: Record<"prefill" | "decode", number>[] = [];
  for (const [minute, { prefill, decode, problem }] of [
    ...minutes,
    ...minutes.slice(-1),
  ].entries()) {
    for (const kind of kinds) {
      const isThere = problem === undefined && minute - since[kind] >= startMinutes;
      if (isThere || wanted[kind] < serving[kind]) serving[kind] = wanted[kind];
    }
    const units = kinds.map((kind): SeenUnits => ({
      kind,
      wanted: wanted[kind],
      serving: serving[kind],
      ranks: 2,
    }));
    const left = room - 2 * (wanted.prefill + wanted.decode);
    const seen = { at: minute * MINUTE, tokens, units, room: left, problem };
    const decision = decideUnits(seen, state, policy);
    state = decision.state;
    for (const { kind, from, to } of decision.changes) {
      assert.equal(from, wanted[kind]);
      wanted[kind] = to;
      since[kind] = minute;
    }
    if (minute > 0) {
      decisions.push(decision);
      counts.push({ prefill: wanted.prefill, decode: wanted.decode });
    }
    tokens = { prefill: tokens.prefill + 60 * prefill, decode: tokens.decode + 60 * decode };
  }
  return { counts, decisions, changes: decisions.flatMap((each) => each.changes) };
}

const of = (count: number, prefill: number, decode: number): Minute[] =>
  Array.from({ length: count }, () => ({ prefill, decode }));

test("a load that rises has more units of the kind that needs them, and says why", () => {
  const rise = [250, 500, 875, 1250, 1500].map((prefill) => ({ prefill, decode: 50 }));
  const { counts, changes } = live(rise);
  assert.deepEqual(
    counts.map(({ prefill }) => prefill),
    [1, 1, 2, 2, 2],
    "what rises is expected to rise on",
  );
  assert.ok(counts.every(({ decode }) => decode === 1));
  assert.deepEqual(changes, [{ kind: "prefill", from: 1, to: 2, asked: 0.875, expected: 1.25 }]);
});

test("a load that falls gives units back after its patience, never the last of a kind", () => {
  const { counts } = live([...of(3, 2900, 290), ...of(40, 0, 0)]);
  assert.deepEqual(counts[2], { prefill: 3, decode: 3 });
  assert.deepEqual(counts[17], { prefill: 3, decode: 3 });
  assert.deepEqual(counts[18], { prefill: 1, decode: 1 });
  assert.deepEqual(counts.at(-1), { prefill: 1, decode: 1 });
});

test("a load that flaps within the patience changes units once, whatever its pace", () =>
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 7 }), fc.integer({ min: 1, max: 7 }), (high, low) => {
      const flapping = Array.from({ length: 8 }, () => [
        ...of(high, 1900, 20),
        ...of(low, 100, 20),
      ]);
      const { changes } = live(flapping.flat());
      // One more where the second rise, which is seen whole, has more expected of it than the first.
      assert.ok(changes.length <= 2, JSON.stringify(changes));
      assert.ok(changes.every(({ from, to }) => to > from));
    }),
  ));

test("however load comes, units lie between least and most, and one patience has one fall", () =>
  fc.assert(
    fc.property(
      fc.array(fc.record({ prefill: fc.nat(9000), decode: fc.nat(900) }), { minLength: 60 }),
      fc.nat(5),
      (minutes, startMinutes) => {
        const { counts, decisions } = live(minutes, startMinutes);
        assert.ok(
          counts.every(({ prefill, decode }) => Math.min(prefill, decode) >= 1 && prefill <= 5),
        );
        for (const kind of ["prefill", "decode"]) {
          const falls = decisions.flatMap(({ changes }, minute) =>
            changes.some((each) => each.kind === kind && each.to < each.from) ? [minute] : [],
          );
          for (const [i, minute] of falls.entries()) {
            if (i > 0) assert.ok(minute - falls[i - 1] >= 15);
          }
        }
      },
    ),
    { numRuns: 50 },
  ));

test("a kind of which a unit is still to start is left alone, and others are not", () => {
  const { counts } = live([...of(2, 1500, 50), ...of(8, 4000, 150)], 4);
  assert.deepEqual(
    counts.map(({ prefill }) => prefill),
    [2, 2, 2, 2, 4, 4, 4, 4, 4, 4],
  );
  assert.equal(counts[2].decode, 3, "150 are asked after 50, and 250 expected");
});

test("units that do not start are given up, and not tried again before the patience is over", () => {
  const broken = of(10, 1500, 50).map((minute) => ({ ...minute, problem: "no memory" }));
  const { counts, changes, decisions } = live([...broken, ...of(12, 1500, 50)], 1);
  assert.deepEqual(counts.map(({ prefill }) => prefill).join(""), "2111111111111111222222");
  assert.equal(changes[1].problem, "no memory");
  assert.deepEqual(decisions[5].short, ["prefill"]);
});

test("no more start than nodes have room for, and what lacks is told", () => {
  const { counts, decisions } = live(of(20, 2500, 250), 0, 9);
  assert.deepEqual(counts.at(-1), { prefill: 3, decode: 1 });
  assert.deepEqual(decisions.at(-1)?.short, ["decode"]);
});

test("a unit that does both is asked for prompts and answers together", () => {
  const units = [{ kind: "combined", wanted: 1, serving: 1, ranks: 1 }] as const;
  const seen = { at: 0, tokens: { prefill: 0, decode: 0 }, units, room: 9, problem: undefined };
  const { state } = decideUnits(seen, { kinds: {} }, policy);
  const tokens = { prefill: 60 * 700, decode: 60 * 80 };
  const { changes } = decideUnits({ ...seen, at: MINUTE, tokens }, state, policy);
  assert.deepEqual(changes, [{ kind: "combined", from: 1, to: 2, asked: 1.5, expected: 1.5 }]);
});
