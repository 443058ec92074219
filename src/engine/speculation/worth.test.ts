import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { worthwhile, type Cost } from "./worth.ts";

const offer = fc.record({
  proposed: fc.integer({ min: 0, max: 4 }),
  chance: fc.integer({ min: 0, max: 100 }).map((percent) => percent / 100),
  drafted: fc.boolean(),
});

const PASS = 3;

/** Tokens a millisecond. */
function rateOf(
  offers: readonly { readonly chance: number; readonly drafted: boolean }[],
  counts: readonly number[],
  cost: Cost,
): number {
  let [tokens, rows, passes] = [offers.length, offers.length, 0];
  for (const [i, { chance, drafted }] of offers.entries()) {
    for (let depth = 1; depth <= counts[i]; depth++) tokens += chance ** depth;
    rows += counts[i];
    if (drafted) passes = Math.max(passes, counts[i]);
  }
  return tokens / (cost.of(rows) + passes * cost.pass);
}

/** All ways to take proposals of each offer, but for those that hardly ever stand. */
function* waysOf(
  offers: readonly { readonly proposed: number; readonly chance: number }[],
): Generator<number[]> {
  if (offers.length === 0) return void (yield []);
  const [{ proposed, chance }, ...others] = offers;
  for (const rest of waysOf(others)) {
    for (let count = 0; count <= proposed && chance ** count >= 0.1; count++) {
      yield [count, ...rest];
    }
  }
}

test("no other way to take proposals makes more tokens a millisecond", () => {
  const offers = fc.array(offer, { minLength: 1, maxLength: 3 });
  const costs = fc.array(fc.integer({ min: 0, max: 20 }), { minLength: 20, maxLength: 20 });
  // Where rows cost nothing the first would be free; it is no way all the same.
  const hopelessFirst = [
    { proposed: 1, chance: 0, drafted: false },
    { proposed: 1, chance: 0.1, drafted: true },
  ];
  fc.assert(
    fc.property(offers, costs, (given, steps) => {
      const of = (rows: number) => 30 + steps.slice(0, rows).reduce((a, b) => a + b, 0);
      const cost = { of, pass: PASS };
      const { counts, rate } = worthwhile(given, 20, cost);
      const ways = [...waysOf(given)].filter((way) => way.some((count) => count > 0));
      const best = Math.max(0, ...ways.map((way) => rateOf(given, way, cost)));
      if (ways.length === 0) return assert.equal(rate, 0);
      assert.ok(Math.abs(rate - rateOf(given, counts, cost)) < 1e-9);
      assert.ok(rate >= best - 1e-9, `${rate} of ${best}`);
    }),
    { examples: [[hopelessFirst, Array<number>(20).fill(0)]] },
  );
});

test("no more rows are taken than allowed, nor more than are proposed", () => {
  const free = { of: () => 1, pass: 0 };
  assert.deepEqual(worthwhile([{ proposed: 9, chance: 0.9, drafted: false }], 4, free).counts, [3]);
  assert.deepEqual(worthwhile([{ proposed: 2, chance: 0.9, drafted: true }], 64, free).counts, [2]);
  const two = [
    { proposed: 9, chance: 0.5, drafted: false },
    { proposed: 9, chance: 0.9, drafted: false },
  ];
  assert.deepEqual(worthwhile(two, 6, free).counts, [0, 4], "the likeliest first: 0.9⁴ > 0.5");
  assert.deepEqual(worthwhile(two, 1, free).counts, [0, 0]);
});
