import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { placements, shareOf, EXPERTS, TOP_K } from "./fixtures.ts";
import { dispatchLayout, exclusiveSums } from "./layout.ts";

test("each choice goes once to a replica of its expert, and ranks get no more than if replicas took turns", () => {
  const excess = { turns: 0, shared: 0 };
  fc.assert(
    fc.property(shareOf(EXPERTS), placements(4), fc.nat(3), ({ ids, rows }, placement, own) => {
      const { parts, places } = dispatchLayout(ids, rows, TOP_K, placement, own);
      const firsts = exclusiveSums(parts.map(({ pairRows }) => pairRows.length));
      const turns = parts.map(() => 0);
      for (const [pair, id] of ids.entries()) {
        const replicas = placement.replicas[id];
        turns[Math.floor(replicas[Math.floor(pair / TOP_K) % replicas.length] / placement.slots)]++;
        const rank = firsts.findLastIndex((first) => first <= places[pair]);
        const at = places[pair] - firsts[rank];
        assert.equal(parts[rank].rows[parts[rank].pairRows[at]], Math.floor(pair / TOP_K));
        const physical = rank * placement.slots + parts[rank].pairSlots[at];
        assert.equal(placement.physicalToLogical[physical], id);
      }
      assert.equal(new Set(places).size, ids.length);
      excess.turns += Math.max(...turns);
      excess.shared += Math.max(...parts.map(({ pairRows }) => pairRows.length));
    }),
    { seed: 1 },
  );
  assert.ok(excess.shared < 0.9 * excess.turns, JSON.stringify(excess));
});
