import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import {
  type BatchLoads,
  evenShares,
  rankLoads,
  type ReplicaShares,
  waterfill,
} from "./replica-shares.ts";

const batches = (mostRanks: number, mostPairs: number) =>
  fc.integer({ min: 1, max: mostRanks }).chain((ranks) => {
    const held = fc.uniqueArray(fc.nat(ranks - 1), { minLength: 1, maxLength: ranks });
    return fc
      .array(fc.tuple(fc.nat(mostPairs), held), { minLength: 1, maxLength: 8 })
      .chain((experts) => fc.tuple(fc.constant(experts), fc.nat(ranks)))
      .map(([experts, turn]): BatchLoads => ({
        ...{ ranks, turn, pairs: experts.map(([pairs]) => pairs) },
        ranksOf: experts.map(([, holders]) => holders),
      }));
  });

const busiest = (batch: BatchLoads, shares: ReplicaShares) => Math.max(...rankLoads(batch, shares));

for (const [name, share] of Object.entries({ waterfill, evenShares })) {
  test(`${name} gives every pair to a replica of its expert`, () =>
    fc.assert(
      fc.property(batches(6, 40), (batch) => {
        for (const [expert, shares] of share(batch).entries()) {
          assert.equal(shares.length, batch.ranksOf[expert].length);
          assert.ok(shares.every((pairs) => Number.isInteger(pairs) && pairs >= 0));
          assert.equal(
            shares.reduce((sum, pairs) => sum + pairs, 0),
            batch.pairs[expert],
          );
        }
      }),
    ));
}

test("the waterfill is never worse than replicas that take turns", () =>
  fc.assert(
    fc.property(batches(6, 40), (batch) => {
      const turns = batch.ranksOf.map((held, expert) =>
        held.map((_, replica) => {
          const first = (replica + (batch.turn ?? 0)) % held.length;
          return Math.ceil((batch.pairs[expert] - first) / held.length);
        }),
      );
      assert.ok(busiest(batch, waterfill(batch)) <= busiest(batch, turns));
    }),
  ));

/** The lowest maximum of all ways there are. */
function bestOfAll({ pairs, ranksOf, ranks }: BatchLoads): number {
  let loads = [Array.from({ length: ranks }, () => 0)];
  for (const [expert, held] of ranksOf.entries()) {
    for (let pair = 0; pair < pairs[expert]; pair++) {
      const next = loads.flatMap((each) => held.map((rank) => each.with(rank, each[rank] + 1)));
      loads = [...new Map(next.map((each) => [each.join(), each])).values()];
    }
  }
  return Math.min(...loads.map((each) => Math.max(...each)));
}

test("even shares have the lowest maximum there is", () =>
  fc.assert(
    fc.property(batches(3, 3), (batch) => {
      assert.equal(busiest(batch, evenShares(batch)), bestOfAll(batch));
    }),
  ));

test("pairs reach a rank that shares no expert with the busiest along a chain of replicas", () => {
  const batch = { pairs: [90, 30, 30], ranksOf: [[0], [0, 1], [1, 2]], ranks: 3 };
  assert.deepEqual(rankLoads(batch, evenShares(batch)), [90, 30, 30]);
  const chained = { pairs: [20, 40, 40], ranksOf: [[0], [0, 1], [1, 2]], ranks: 3 };
  assert.ok(busiest(chained, evenShares(chained)) <= 34);
});

test("senders who decide alone take turns where all is equal", () => {
  const batch = { pairs: [1], ranksOf: [[0, 1, 2]], ranks: 3 };
  const first = [0, 1, 2].map((turn) => waterfill({ ...batch, turn })[0].indexOf(1));
  assert.deepEqual(
    first.toSorted((a, b) => a - b),
    [0, 1, 2],
  );
});
