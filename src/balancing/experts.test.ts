import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { test } from "node:test";
import { rebalanceExperts as exported } from "daysix/balancing";
import fc from "fast-check";
import type { ExpertTopology } from "./eplb.ts";
import { expertPolicies, type ExpertPolicy, rebalanceExperts } from "./experts.ts";

interface Vector {
  readonly name: string;
  readonly loads: number[][];
  readonly topology: ExpertTopology;
  readonly physicalToLogical: number[][];
  readonly logicalToPhysical: number[][][];
  readonly replicas: number[][];
}

const fixture = new URL("../../fixtures/eplb/vectors.json", import.meta.url);
const shared = new URL("../../../shared/data/eplb-vectors/vectors.json", import.meta.url);
const published = "eplb";

for (const vector of JSON.parse(readFileSync(fixture, "utf8")) as Vector[]) {
  test(`placements are those of DeepSeek's EPLB: ${vector.name}`, () => {
    const plan = rebalanceExperts(vector.loads, { ...vector.topology, policy: published });
    assert.deepEqual(plan.physicalToLogical, vector.physicalToLogical);
    assert.deepEqual(plan.logicalToPhysical, vector.logicalToPhysical);
    assert.deepEqual(plan.replicas, vector.replicas);
  });
}

test("placements of real loads, equal ones among them, are those of the shared vectors", (t) => {
  if (!existsSync(shared)) return t.skip("../shared/data/eplb-vectors is not here");
  interface Shared extends Record<
    "num_replicas" | "num_groups" | "num_nodes" | "num_gpus",
    number
  > {
    readonly name: string;
    readonly weight: number[][];
    readonly phy2log: number[][];
    readonly log2phy: number[][][];
    readonly logcnt: number[][];
    readonly gpu_max_over_mean: number[];
  }
  for (const vector of JSON.parse(readFileSync(shared, "utf8")) as Shared[]) {
    const plan = rebalanceExperts(vector.weight, {
      replicas: vector.num_replicas,
      groups: vector.num_groups,
      nodes: vector.num_nodes,
      ranks: vector.num_gpus,
      policy: published,
    });
    assert.deepEqual(plan.physicalToLogical, vector.phy2log);
    assert.deepEqual(plan.logicalToPhysical, vector.log2phy);
    assert.deepEqual(plan.replicas, vector.logcnt);
    for (const [layer, expected] of vector.gpu_max_over_mean.entries()) {
      assert.ok(Math.abs(plan.maxOverMean[layer] - expected) < 1e-6);
    }
  }
});

test("without any load every rank has its share", () => {
  const { maxOverMean } = rebalanceExperts([[0, 0, 0, 0]], {
    replicas: 4,
    groups: 1,
    nodes: 1,
    ranks: 2,
    policy: published,
  });
  assert.deepEqual(maxOverMean, [1]);
});

test("the package exports it", () => assert.equal(exported, rebalanceExperts));

const shapes = fc
  .record({
    nodes: fc.integer({ min: 1, max: 4 }),
    ranksPerNode: fc.integer({ min: 1, max: 4 }),
    groupsPerNode: fc.integer({ min: 1, max: 3 }),
    groupSize: fc.integer({ min: 1, max: 6 }),
    spareSlots: fc.nat(3),
    hierarchical: fc.boolean(),
  })
  .map(({ nodes, ranksPerNode, groupsPerNode, groupSize, spareSlots, hierarchical }) => {
    const ranks = nodes * ranksPerNode;
    const groups = nodes * groupsPerNode;
    const experts = groups * groupSize;
    const replicas = ranks * (Math.ceil(experts / ranks) + spareSlots);
    return { experts, topology: { replicas, groups, nodes: hierarchical ? nodes : 7, ranks } };
  });

const loadsAndTopology = shapes.chain(({ experts, topology }) => {
  const layer = fc.array(fc.nat(20), { minLength: experts, maxLength: experts });
  return fc.record({
    loads: fc.array(layer, { minLength: 1, maxLength: 3 }),
    topology: fc.constant(topology),
    policy: fc.constantFrom(...expertPolicies),
  });
});

test("every expert is placed, every slot is used once, and the maps agree", () => {
  fc.assert(
    fc.property(loadsAndTopology, ({ loads, topology, policy }) => {
      const plan = rebalanceExperts(loads, { ...topology, policy });
      for (const [layer, physicalToLogical] of plan.physicalToLogical.entries()) {
        const slotsOf = loads[layer].map((_, expert) =>
          [...physicalToLogical.keys()].filter((slot) => physicalToLogical[slot] === expert),
        );
        assert.ok(slotsOf.every((slots) => slots.length > 0));
        assert.equal(physicalToLogical.length, topology.replicas);
        assert.equal(
          plan.replicas[layer].reduce((sum, count) => sum + count, 0),
          topology.replicas,
        );
        for (const [expert, padded] of plan.logicalToPhysical[layer].entries()) {
          const slots = padded.slice(0, plan.replicas[layer][expert]);
          assert.ok(padded.slice(slots.length).every((slot) => slot === -1));
          assert.deepEqual(
            slots.sort((a, b) => a - b),
            slotsOf[expert],
          );
        }
      }
      const widths = plan.logicalToPhysical.flat().map((slots) => slots.length);
      assert.ok(widths.every((width) => width === Math.max(...plan.replicas.flat())));
    }),
  );
});

test("the reported balance is that of the placement, a replica taking its share of the load", () => {
  fc.assert(
    fc.property(loadsAndTopology, ({ loads, topology, policy }) => {
      const plan = rebalanceExperts(loads, { ...topology, policy });
      const perRank = topology.replicas / topology.ranks;
      for (const [layer, row] of loads.entries()) {
        const total = row.reduce((sum, load) => sum + load, 0);
        const shares = plan.physicalToLogical[layer].map(
          (expert) => row[expert] / plan.replicas[layer][expert],
        );
        const busiest = Math.max(
          ...Array.from({ length: topology.ranks }, (_, rank) =>
            shares.slice(rank * perRank, (rank + 1) * perRank).reduce((sum, x) => sum + x, 0),
          ),
        );
        const expected = total === 0 ? 1 : (busiest * topology.ranks) / total;
        assert.ok(Math.abs(plan.maxOverMean[layer] - expected) < 1e-9);
      }
    }),
  );
});

test("the hierarchical policy keeps a group's experts on one node, each node its share", () => {
  fc.assert(
    fc.property(loadsAndTopology, ({ loads, topology, policy }) => {
      fc.pre(topology.groups % topology.nodes === 0);
      const { physicalToLogical } = rebalanceExperts(loads, { ...topology, policy });
      const slotsPerNode = topology.replicas / topology.nodes;
      const groupSize = loads[0].length / topology.groups;
      for (const layer of physicalToLogical) {
        const nodesOfGroup = Array.from({ length: topology.groups }, () => new Set<number>());
        for (const [slot, expert] of layer.entries()) {
          nodesOfGroup[Math.floor(expert / groupSize)].add(Math.floor(slot / slotsPerNode));
        }
        assert.ok(nodesOfGroup.every((nodes) => nodes.size === 1));
      }
    }),
  );
});

test("layers are placed independently", () => {
  fc.assert(
    fc.property(loadsAndTopology, ({ loads, topology, policy }) => {
      const together = rebalanceExperts(loads, { ...topology, policy });
      for (const [layer, row] of loads.entries()) {
        const alone = rebalanceExperts([row], { ...topology, policy });
        assert.deepEqual(together.physicalToLogical[layer], alone.physicalToLogical[0]);
      }
    }),
  );
});

test("what does not fit is an error that names the argument", () => {
  const loads = [[1, 2, 3, 4, 5, 6, 7, 8]];
  const fits = { replicas: 12, groups: 4, nodes: 2, ranks: 4, policy: published } as const;
  const refuses = (change: object, message: RegExp, given = loads) =>
    assert.throws(() => rebalanceExperts(given, { ...fits, ...change }), {
      name: "RangeError",
      message,
    });
  rebalanceExperts(loads, fits);
  refuses({ policy: "fastest" as ExpertPolicy }, /^policy: expected eplb, best, got fastest$/);
  refuses({ replicas: 14 }, /^replicas: expected a multiple of the 4 ranks, got 14$/);
  refuses({ replicas: 4 }, /^replicas: expected at least the 8 experts, got 4$/);
  refuses({ groups: 6 }, /^groups: expected a divisor of the 8 experts, got 6$/);
  refuses({ ranks: 3 }, /^ranks: expected a multiple of the 2 nodes, got 3$/);
  refuses({ nodes: 0 }, /^nodes: expected a whole number above 0, got 0$/);
  refuses({ ranks: 1.5 }, /^ranks: expected a whole number above 0, got 1.5$/);
  refuses({}, /^loads: layer 1: expected 8 experts, got 1$/, [...loads, [1]]);
  refuses({}, /^loads: expected one or more layers, got none$/, []);
  refuses({}, /^loads: layer 0: expected one or more experts, got none$/, [[]]);
  for (const bad of [-1, Number.NaN, Infinity, 1e39]) {
    refuses({}, /^loads: layer 0, expert 1: expected a finite float32 of at least 0, got/, [
      [1, bad, 3, 4, 5, 6, 7, 8],
    ]);
  }
});

test("a global placement asks neither groups nor nodes to divide anything", () => {
  const { physicalToLogical } = rebalanceExperts([[1, 2, 3, 4]], {
    replicas: 6,
    groups: 3,
    nodes: 2,
    ranks: 3,
    policy: published,
  });
  assert.equal(new Set(physicalToLogical[0]).size, 4);
});
