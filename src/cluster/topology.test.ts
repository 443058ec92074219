import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { assignRanks, formatTopology, parseTopology } from "./index.ts";

test("a topology numbers the ranks of its units one after another", () => {
  assert.deepEqual(parseTopology("prefill=2x2,decode=1x3"), {
    units: [
      { role: "prefill", ranks: [0, 1] },
      { role: "prefill", ranks: [2, 3] },
      { role: "decode", ranks: [4, 5, 6] },
    ],
    ranks: 7,
  });
  assert.deepEqual(parseTopology("combined=1x1"), {
    units: [{ role: "combined", ranks: [0] }],
    ranks: 1,
  });
});

for (const [text, wrong] of [
  ["", /^--topology: expected role=UNITSxRANKS as in decode=1x2, got ""$/],
  ["prefill=2", /expected role=UNITSxRANKS .* got "prefill=2"/],
  ["prefill=1x2,", /expected role=UNITSxRANKS/],
  ["prefil=1x2", /expected prefill, decode or combined, got "prefil"/],
  ["combined=0x2", /expected at least one unit and one rank, got "combined=0x2"/],
  ["prefill=1x2,prefill=1x2", /prefill is given twice/],
  ["prefill=1x2", /expected both prefill and decode, or combined alone/],
  ["combined=1x2,decode=1x2", /expected both prefill and decode, or combined alone/],
  ["combined=999x999", /expected at most 65536 ranks/],
] as const) {
  test(`"${text}" is no topology`, () => {
    assert.throws(() => parseTopology(text), { name: "RangeError", message: wrong });
  });
}

const size = fc.tuple(fc.integer({ min: 1, max: 5 }), fc.integer({ min: 1, max: 20 }));
const topologyText = fc.oneof(
  size.map(([units, ranks]) => `combined=${units}x${ranks}`),
  fc.tuple(size, size).map(([[a, b], [c, d]]) => `prefill=${a}x${b},decode=${c}x${d}`),
);

test("text and topology convert into each other", () => {
  fc.assert(
    fc.property(topologyText, (text) => assert.equal(formatTopology(parseTopology(text)), text)),
  );
});

const spread = (counts: readonly number[]) => Math.max(...counts) - Math.min(...counts);

test("every unit is spread evenly over the nodes, and so are all ranks together", () => {
  fc.assert(
    fc.property(topologyText, fc.integer({ min: 1, max: 8 }), (text, wanted) => {
      const topology = parseTopology(text);
      const nodes = Math.min(wanted, topology.ranks);
      const nodeOfRank = assignRanks(topology, nodes);
      const perNode = (ranks: readonly number[]) =>
        [...Array(nodes).keys()].map(
          (node) => ranks.filter((rank) => nodeOfRank[rank] === node).length,
        );
      assert.equal(nodeOfRank.length, topology.ranks);
      for (const { ranks } of topology.units) assert.ok(spread(perNode(ranks)) <= 1);
      assert.ok(spread(perNode([...nodeOfRank.keys()])) <= 1);
    }),
  );
});

test("a unit's ranks on one node follow one another", () => {
  assert.deepEqual(assignRanks(parseTopology("prefill=1x4,decode=1x3"), 2), [0, 0, 1, 1, 0, 0, 1]);
});

test("a node without ranks is refused", () => {
  assert.throws(
    () => assignRanks(parseTopology("combined=1x2"), 3),
    /at most one for each rank \(2\), got 3/,
  );
});

test("units may have nodes of their own, as the published ones do", () => {
  const published = assignRanks(parseTopology("prefill=1x32,decode=1x144"), [4, 18]);
  assert.equal(new Set(published.slice(0, 32)).size, 4);
  assert.deepEqual(published.slice(0, 9), [0, 0, 0, 0, 0, 0, 0, 0, 1]);
  assert.deepEqual([published[32], published.at(-1)], [4, 21]);
  const topology = parseTopology("prefill=1x2,decode=1x2");
  assert.throws(
    () => assignRanks(topology, [1]),
    /expected one number or one for each unit \(2\), got 1/,
  );
  assert.throws(() => assignRanks(topology, [1, 3]), /at most one for each rank \(2\), got 3/);
});
