import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { worthwhile } from "./worth.ts";

const offer = fc.record({
  proposed: fc.integer({ min: 0, max: 4 }),
  chance: fc.double({ min: 0, max: 1, noNaN: true }),
  drafted: fc.boolean(),
});

const PASS = 3;

/** Tokens a millisecond. */
function rateOf(
  offers: readonly { readonly chance: number; readonly drafted: boolean }[],
  counts: readonly number[],
  cost: (rows: number, passes: number) => number,
): number {
  let tokens = offers.length;
  const passes = Math.max(0, ...counts.filter((_, i) => offers[i].drafted));
  for (const [i, { chance }] of offers.entries()) {
    for (let depth = 1; depth <= counts[i]; depth++) tokens += chance ** depth;
  }
  return (
    tokens /
    cost(
      counts.reduce((sum, count) => sum + count, offers.length),
      passes,
    )
  );
}

/** All ways to take proposals of each offer. */
function* waysOf(offers: readonly { readonly proposed: number }[]): Generator<number[]> {
  if (offers.length === 0) return void (yield []);
  for (const rest of waysOf(offers.slice(1))) {
    for (let count = 0; count <= offers[0].proposed; count++) yield [count, ...rest];
  }
}

test("no other way to take proposals makes more tokens a millisecond, but for what is too little", () => {
  const offers = fc.array(offer, { minLength: 1, maxLength: 3 });
  const costs = fc.array(fc.integer({ min: 0, max: 20 }), { minLength: 20, maxLength: 20 });
  fc.assert(
    fc.property(offers, costs, (given, steps) => {
      const cost = (rows: number, passes: number) =>
        30 + PASS * passes + steps.slice(0, rows).reduce((a, b) => a + b, 0);
      const { counts, rate: told } = worthwhile(given, 20, cost);
      const rate = rateOf(given, counts, cost);
      assert.ok(Math.abs(told - rate) < 1e-9);
      const plain = rateOf(
        given,
        given.map(() => 0),
        cost,
      );
      assert.ok(rate >= plain);
      const best = Math.max(...[...waysOf(given)].map((way) => rateOf(given, way, cost)));
      assert.ok(rate >= best / 1.03 - 1e-9 || best <= 1.05 * plain, `${rate} of ${best}`);
    }),
  );
});

test("no more rows are taken than allowed, nor more than are proposed", () => {
  const free = () => 1;
  assert.deepEqual(worthwhile([{ proposed: 9, chance: 0.9, drafted: false }], 4, free).counts, [3]);
  assert.deepEqual(worthwhile([{ proposed: 2, chance: 0.9, drafted: true }], 64, free).counts, [2]);
  const two = [
    { proposed: 9, chance: 0.5, drafted: false },
    { proposed: 9, chance: 0.9, drafted: false },
  ];
  assert.deepEqual(worthwhile(two, 6, free).counts, [0, 4], "the likeliest first: 0.9⁴ > 0.5");
  assert.deepEqual(worthwhile(two, 1, free).counts, [0, 0]);
});
