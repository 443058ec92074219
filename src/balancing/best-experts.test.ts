import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import type { ExpertTopology } from "./eplb.ts";
import { rebalanceExperts } from "./experts.ts";

const RANKS = 8;
const EXPERTS = 32;
const topology = { replicas: 48, groups: 1, nodes: 1, ranks: RANKS };
const layers = fc.array(fc.nat(1000), { minLength: EXPERTS, maxLength: EXPERTS });

const place = (
  load: readonly number[],
  policy: "eplb" | "best",
  current?: readonly number[],
  where: ExpertTopology = topology,
) => {
  const plan = rebalanceExperts([load], {
    ...where,
    policy,
    ...(current && { current: [current] }),
  });
  return { map: plan.physicalToLogical[0], maxOverMean: plan.maxOverMean[0] };
};

const packsOf = (map: readonly number[], ranks = RANKS) => {
  const slots = map.length / ranks;
  return Array.from({ length: ranks }, (_, rank) => map.slice(rank * slots, (rank + 1) * slots));
};

/** Experts that come to a rank that did not have them. */
const moves = (from: readonly number[], to: readonly number[]) =>
  packsOf(to).flatMap((experts, rank) =>
    experts.filter((expert) => !packsOf(from)[rank].includes(expert)),
  ).length;

test("no rank has an expert twice, and the busiest has no more than by EPLB, on average", () => {
  const excess = { eplb: 0, best: 0 };
  fc.assert(
    fc.property(layers, (load) => {
      for (const policy of ["eplb", "best"] as const) {
        excess[policy] += place(load, policy).maxOverMean - 1;
      }
      for (const experts of packsOf(place(load, "best").map)) {
        assert.equal(new Set(experts).size, experts.length);
      }
    }),
    { seed: 1 },
  );
  assert.ok(excess.best < 0.7 * excess.eplb, `${excess.best} and ${excess.eplb}`);
});

test("loads that did not change move nothing, however experts were placed", () =>
  fc.assert(
    fc.property(layers, (load) => {
      const { map } = place(load, "best");
      assert.deepEqual(place(load, "best", map).map, map);
    }),
  ));

test("loads that change a little move few experts and end as even as a new placement", () => {
  let moved = { kept: 0, anew: 0 };
  fc.assert(
    fc.property(
      layers,
      fc.array(fc.nat(EXPERTS - 1), { minLength: 3, maxLength: 3 }),
      (load, hot) => {
        const { map } = place(load, "best");
        const changed = load.map((each, expert) => (hot.includes(expert) ? each + 400 : each));
        const anew = place(changed, "best");
        const kept = place(changed, "best", map);
        assert.ok(kept.maxOverMean <= 1.0051 * anew.maxOverMean);
        moved = {
          kept: moved.kept + moves(map, kept.map),
          anew: moved.anew + moves(map, anew.map),
        };
      },
    ),
    { seed: 1 },
  );
  assert.ok(moved.kept < moved.anew / 2, JSON.stringify(moved));
});

test("no placement is worse than EPLB's by more than a percent", () => {
  const where = fc.constantFrom(
    { replicas: 8, groups: 1, nodes: 1, ranks: 4 },
    { replicas: 8, groups: 2, nodes: 2, ranks: 2 },
  );
  const few = fc.array(fc.nat(9), { minLength: 6, maxLength: 6 });
  fc.assert(
    fc.property(few, fc.option(few), where, (load, before, shape) => {
      const eplb = place(load, "eplb", undefined, shape);
      const current = before ? place(before, "eplb", undefined, shape).map : undefined;
      const best = place(load, "best", current, shape);
      assert.equal(new Set(best.map).size, 6);
      assert.ok(best.maxOverMean <= 1.0101 * eplb.maxOverMean);
    }),
  );
});

test("experts that stay on a rank keep their slots, also where all is placed anew", () =>
  fc.assert(
    fc.property(layers, layers, (before, after) => {
      const { map } = place(before, "eplb");
      const next = place(after, "best", map).map;
      for (const [rank, experts] of packsOf(map).entries()) {
        const now = packsOf(next)[rank];
        for (const expert of now.filter((each) => experts.includes(each))) {
          assert.equal(now.indexOf(expert), experts.indexOf(expert));
        }
      }
    }),
  ));

test("groups stay together on a node wherever experts lay before", () => {
  const where = { replicas: 48, groups: 4, nodes: 2, ranks: RANKS };
  fc.assert(
    fc.property(layers, layers, fc.boolean(), (before, after, wasGrouped) => {
      const { map } = place(before, "best", undefined, { ...where, nodes: wasGrouped ? 2 : 1 });
      const next = place(after, "best", map, where).map;
      const nodesOf = Array.from({ length: 4 }, () => new Set<number>());
      for (const [slot, expert] of next.entries()) {
        nodesOf[Math.floor(expert / 8)].add(Math.floor(slot / 24));
      }
      assert.ok(nodesOf.every((nodes) => nodes.size === 1));
      assert.equal(new Set(next).size, EXPERTS);
    }),
  );
});

test("a placement that does not fit is refused by name", () => {
  const load = [[1, 2, 3, 4]];
  const fits = { replicas: 4, groups: 1, nodes: 1, ranks: 2, policy: "best" } as const;
  const refuses = (current: number[][], message: RegExp) =>
    assert.throws(() => rebalanceExperts(load, { ...fits, current }), message);
  refuses([], /^RangeError: current: expected 1 layers, got 0$/);
  refuses([[0, 1, 2]], /current: layer 0: expected 4 slots, got 3/);
  for (const bad of [
    [0, 1, 2, 2],
    [0, 1, 2, 4],
  ]) {
    refuses([bad], /current: layer 0: expected every expert, and no other/);
  }
});
