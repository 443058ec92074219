import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import fc from "fast-check";
import { gaussian, policies, randomSource, type Policy } from "../kernels/index.ts";
import { clockSince, SpanRecorder, spanNames } from "../trace/index.ts";
import {
  EXPERTS,
  HIDDEN,
  nobody,
  openUnit,
  oracle,
  placements,
  shareOf,
  TOP_K,
  ways,
  type RankRows,
  type UnitOptions,
  type Way,
} from "./fixtures.ts";
import { dispatchLayout } from "./layout.ts";
import { layerPlacement, orderedPlacement, type LayerPlacement } from "./placement.ts";

// Shared memory does not keep a thread alive by itself.
let alive: NodeJS.Timeout;
before(() => (alive = setInterval(() => undefined, 1000)));
after(() => clearInterval(alive));

/** Two layers whose experts lie alike. */
async function parallel(
  way: Way,
  policy: Policy,
  shares: RankRows[],
  placement: LayerPlacement,
  options: Partial<UnitOptions> = {},
) {
  const ranks = shares.length;
  const unit = openUnit(way, { policy, ranks, placementOf: () => placement, ...options });
  const outputs: Buffer[] = [];
  for (let layer = 0; layer < 2; layer++) {
    await Promise.all(
      unit.map(async (member, rank) => {
        outputs[rank] = await member.compute(layer, shares[rank]);
      }),
    );
  }
  const traffic = unit.map(({ experts }) => experts.traffic);
  for (const member of unit) member.close();
  return { outputs, traffic };
}

const steps = fc
  .tuple(fc.integer({ min: 1, max: 5 }), fc.constantFrom(TOP_K, 5, EXPERTS))
  .chain(([ranks, choosable]) =>
    fc.record({
      policy: fc.constantFrom(...policies),
      shares: fc.array(shareOf(choosable), { minLength: ranks, maxLength: ranks }),
      placement: placements(ranks),
    }),
  );

/** Rows any of whose experts are computed there. */
function rowsForNode(
  { ids, rows }: RankRows,
  placement: LayerPlacement,
  own: number,
  there: (_: unknown, rank: number) => boolean,
): number {
  const { parts } = dispatchLayout(ids, rows, TOP_K, placement, own);
  return new Set(parts.filter(there).flatMap((part) => Array.from(part.rows))).size;
}

/** Rows each of whose choices is one further than the row's before. */
const many = (rows: number): RankRows => ({
  rows,
  ids: Int32Array.from(
    Array.from({ length: rows }, (_, row) =>
      [0, 4, 8].map((further) => (row + further) % EXPERTS).toSorted((a, b) => a - b),
    ).flat(),
  ),
  values: gaussian(randomSource(rows + 1), rows * HIDDEN),
});

for (const way of ways.filter(({ sharesMemory }) => !sharesMemory)) {
  const { name, skip } = way;
  test(`${name}: more rows than have a fixed place keep their bits`, { skip }, async () => {
    for (const counts of [
      [3, 150, 0],
      [150, 3, 1],
      [128, 129, 128],
    ]) {
      const shares = counts.map(many);
      const { outputs } = await parallel(way, "w8a8", shares, orderedPlacement(EXPERTS, 3));
      for (const [rank, own] of shares.entries()) {
        assert.deepEqual(
          outputs[rank],
          await oracle(way, "w8a8", own),
          `${counts.join()} rank ${rank}`,
        );
      }
    }
  });
}

for (const way of ways.filter(({ sharesMemory }) => !sharesMemory)) {
  const { name, skip } = way;
  test(`${name}: many rows go home part by part, and keep their bits`, { skip }, async () => {
    const tracer = new SpanRecorder({ node: 0, rank: 0, clock: clockSince(Date.now()) });
    const shares = [many(9000), many(40)];
    const placement = orderedPlacement(EXPERTS, 2);
    const { outputs } = await parallel(way, "f32", shares, placement, { tracer });
    for (const [rank, own] of shares.entries()) {
      assert.ok(outputs[rank].equals(await oracle(way, "f32", own)), `rank ${rank}`);
    }
    const mlps = [...tracer.take().names].filter((kind) => spanNames[kind] === "MLP");
    assert.ok(mlps.length > 2 * shares.length, `${mlps.length} parts`);
  });

  test(
    `${name}: with many rows in a step each goes once to another node, where it is passed on`,
    { skip },
    () =>
      fc.assert(
        fc.asyncProperty(steps, fc.array(fc.nat(2), { minLength: 5 }), async (step, nodes) => {
          const { policy, shares, placement } = step;
          const apart = { nodes, unitRows: () => 1000 };
          const told = await parallel(way, policy, shares, placement, apart);
          const straight = await parallel(way, policy, shares, placement);
          for (const [rank, own] of shares.entries()) {
            assert.deepEqual(told.outputs[rank], await oracle(way, policy, own));
            const { rowsTo, rowsSent } = told.traffic[rank];
            assert.deepEqual(rowsTo, straight.traffic[rank].rowsTo);
            for (const node of new Set(nodes.slice(0, shares.length))) {
              if (node === nodes[rank]) continue;
              const there = (_: unknown, to: number) => nodes[to] === node;
              const sent = rowsSent.filter(there);
              assert.ok(sent.filter((rows) => rows > 0).length <= 1, "to one rank of the node");
              const rows = sent.reduce((sum, each) => sum + each, 0);
              assert.equal(rows, 2 * rowsForNode(own, placement, rank, there));
            }
          }
        }),
        { numRuns: 30 },
      ),
  );
}

for (const way of ways) {
  const { name, skip } = way;
  const share = {
    rows: 2,
    ids: Int32Array.of(0, 1, 2, 3, 4, 11),
    values: gaussian(randomSource(1), 2 * HIDDEN),
  };

  test(`${name}: each row has the bits of one process, wherever experts lie`, { skip }, () =>
    fc.assert(
      fc.asyncProperty(steps, async ({ policy, shares, placement }) => {
        const { outputs, traffic } = await parallel(way, policy, shares, placement);
        for (const [rank, own] of shares.entries()) {
          assert.deepEqual(outputs[rank], await oracle(way, policy, own));
          const sent = traffic[rank].rowsTo.reduce((sum, rows) => sum + rows, 0);
          assert.ok(sent >= 2 * own.rows && sent <= 2 * own.rows * TOP_K);
          const loads = traffic[rank].expertLoads.flat().reduce((sum, load) => sum + load, 0);
          assert.equal(loads, 2 * own.rows * TOP_K);
        }
      }),
      { numRuns: 60 },
    ),
  );

  test(
    `${name}: a row goes once to a rank, however many of its experts lie there`,
    { skip },
    async () => {
      const placement = orderedPlacement(EXPERTS, 2);
      const { traffic } = await parallel(way, "w8a16", [nobody, share], placement);
      assert.deepEqual(traffic[1].rowsTo, [4, 2], "two layers of two rows there, of one row here");
      assert.deepEqual(traffic[0].rowsTo, [0, 0]);
      assert.deepEqual(traffic[1].expertLoads, [
        [1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 1],
        [1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 1],
      ]);
    },
  );
}

test("however rows are exchanged, the same rows are told to have gone to the same ranks", async () => {
  for (let seed = 1; seed <= 8; seed++) {
    const shares = fc.sample(shareOf(EXPERTS), { numRuns: 4, seed });
    const [placement] = fc.sample(placements(4), { numRuns: 1, seed });
    const told = await Promise.all(
      ways
        .filter(({ skip }) => !skip)
        .map(async (way) => {
          const { traffic } = await parallel(way, "w8a8", shares, placement);
          return traffic.map(({ rowsTo, expertLoads }) => ({ rowsTo, expertLoads }));
        }),
    );
    for (const traffic of told) assert.deepEqual(traffic, told[0]);
  }
});

test("placements that leave an expert out or do not divide are refused", () => {
  assert.throws(() => layerPlacement([0, 1, 1], 3, 3), /logical expert 2 is nowhere/);
  assert.throws(() => layerPlacement([0, 1, 2], 3, 2), /do not divide over 2 ranks/);
  assert.throws(() => layerPlacement([0, 3], 2, 2), /below 2, got 3/);
  assert.deepEqual([...orderedPlacement(16, 3).physicalToLogical.slice(-3)], [15, 0, 1]);
});
