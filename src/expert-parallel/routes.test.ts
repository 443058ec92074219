import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { Routes } from "./routes.ts";

const nodeOfRanks = fc.array(fc.nat(3), { minLength: 1, maxLength: 12 });

test("a message goes to each node once, and rows of every rank come to every other one", () => {
  const property = fc.property(nodeOfRanks, (nodes) => {
    const routes = [...nodes.keys()].map((own) => new Routes(nodes, own));
    for (const [from, { ways }] of routes.entries()) {
      const away = ways.filter(({ to }) => nodes[to] !== nodes[from]).map(({ to }) => nodes[to]);
      assert.equal(new Set(away).size, away.length, "once to a node");
      const reached = ways.flatMap(({ to, ranks }) => {
        assert.ok(routes[to].straight.includes(from), `${to} awaits ${from}`);
        for (const rank of ranks) {
          assert.equal(nodes[rank], nodes[to]);
          if (rank !== to) assert.ok(routes[rank].passing.includes(to), `${rank} awaits ${to}`);
        }
        return ranks;
      });
      const others = [...nodes.keys()].filter((rank) => rank !== from);
      assert.deepEqual(
        reached.toSorted((a, b) => a - b),
        others,
      );
    }
    // As many messages are awaited as are sent.
    const sent = routes.flatMap(({ ways }) => ways.flatMap(({ ranks }) => ranks)).length;
    const awaited = routes.flatMap(({ straight, passing }) => [...straight, ...passing]).length;
    assert.equal(awaited, sent);
  });
  fc.assert(property);
});

test("ranks of a node have other ones to pass their rows on, where there are as many", () => {
  const nodes = [0, 0, 0, 1, 1, 1];
  const first = nodes.map((_, own) => new Routes(nodes, own).ways.map(({ to }) => to));
  assert.deepEqual(
    first.map((ways, own) => ways.filter((to) => nodes[to] !== nodes[own])),
    [[3], [4], [5], [0], [1], [2]],
  );
});
