import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { orderedPlacement } from "../../expert-parallel/index.ts";
import { dispatchTraffic } from "./dispatch-traffic.ts";

const EXPERTS = 12;
const TOP_K = 3;

const routings = fc.array(
  fc
    .array(fc.uniqueArray(fc.nat(EXPERTS - 1), { minLength: TOP_K, maxLength: TOP_K }), {
      minLength: 1,
      maxLength: 20,
    })
    .map((rows) => Int32Array.from(rows.flatMap((row) => row.toSorted((a, b) => a - b)))),
  { minLength: 1, maxLength: 3 },
);

test("traffic counts a row once for each rank and node that it reaches", () =>
  fc.assert(
    fc.property(routings, fc.constantFrom(1, 2, 4), (routing, ranks) => {
      const traffic = dispatchTraffic(routing, {
        topK: TOP_K,
        placement: orderedPlacement(EXPERTS, ranks),
        nodeOfRank: Array.from({ length: ranks }, (_, rank) => Math.floor((2 * rank) / ranks)),
        dispatchBytes: 1,
        combineBytes: 1000,
      });
      const expected = {
        into: Array<number>(ranks).fill(0),
        offRank: 0,
        pairsOffRank: 0,
        offNode: 0,
      };
      for (const ids of routing) {
        const rows = ids.length / TOP_K;
        const homeOf = (row: number) =>
          Array.from({ length: ranks }, (_, rank) => Math.floor((rows * (rank + 1)) / ranks)) //
            .findIndex((end) => row < end);
        for (let row = 0; row < rows; row++) {
          const chosen = [...ids.subarray(row * TOP_K, (row + 1) * TOP_K)];
          const reached = chosen.map((expert) => Math.floor(expert / (EXPERTS / ranks)));
          const nodeOf = (rank: number) => Math.floor((2 * rank) / ranks);
          const nodes = new Set(reached.map(nodeOf));
          nodes.delete(nodeOf(homeOf(row)));
          expected.offNode += nodes.size;
          for (const rank of new Set(reached)) {
            expected.into[rank]++;
            if (rank === homeOf(row)) continue;
            expected.offRank++;
            expected.pairsOffRank += reached.filter((each) => each === rank).length;
          }
        }
      }
      assert.deepEqual(traffic.rowsInto, expected.into);
      assert.equal(traffic.offRank.rows, expected.offRank);
      assert.equal(traffic.offRank.bytes, expected.offRank + 1000 * expected.pairsOffRank);
      assert.ok(traffic.offNode.rows <= traffic.offRank.rows);
      assert.equal(traffic.onceOffNode.rows, expected.offNode);
      const saved = traffic.offNode.rows - expected.offNode;
      assert.equal(traffic.onceOffNode.bytes, traffic.offNode.bytes - saved);
      if (ranks === 2) assert.deepEqual(traffic.offNode, traffic.offRank);
    }),
  ));
