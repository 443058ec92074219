/**
 * The expert-parallel balancer: DeepSeek's EPLB (github.com/deepseek-ai/EPLB at d52c72d), with the
 * same placements down to its float32 rounding and the order of equals. Hot experts get replicas,
 * and replicas are packed so that the busiest rank, which every other waits for, has little more
 * than its share.
 */
import { maxOverMean } from "./balance.ts";
import { packEvenly } from "./packing.ts";
import { sumRow } from "./torch-arithmetic.ts";

/** `eplb`: hierarchical where the nodes divide the groups, otherwise global, as DeepSeek's. */
export const expertPolicies = ["eplb"] as const;
export type ExpertPolicy = (typeof expertPolicies)[number];

export interface ExpertTopology {
  /** Physical experts of a layer, over all ranks. */
  readonly replicas: number;
  /** Groups of consecutive logical experts that a token's routing keeps or drops whole. */
  readonly groups: number;
  readonly nodes: number;
  /** Over all nodes. */
  readonly ranks: number;
}

export interface ExpertPlan {
  /** [layers, replicas]: the logical expert in each slot; slots are numbered rank by rank. */
  readonly physicalToLogical: number[][];
  /** [layers, experts, most replicas of any expert]: an expert's slots, padded with -1. */
  readonly logicalToPhysical: number[][][];
  /** [layers, experts]: how many slots an expert has. */
  readonly replicas: number[][];
  /** [layers]: load of the busiest rank over the mean. */
  readonly maxOverMean: number[];
}

/**
 * Placement of each layer's experts for the loads that were seen.
 * Hierarchical: groups are packed to nodes, so that a token whose routing keeps few groups is sent
 * to few nodes; then experts are replicated and packed to ranks inside each node. Global: one node
 * with one group.
 * @param loads [layers, logical experts], in any unit
 * @throws RangeError that begins with the name of the argument
 */
export function rebalanceExperts(
  loads: readonly (readonly number[])[],
  options: ExpertTopology & { readonly policy: ExpertPolicy },
): ExpertPlan {
  assertPolicy(options.policy);
  assertLoads(loads);
  const topology = effectiveTopology(options, loads[0].length);
  const layers = loads.map((layer) => placeLayer(Float32Array.from(layer), topology));
  const mostReplicas = Math.max(...layers.map((layer) => Math.max(...layer.replicas)));
  return {
    physicalToLogical: layers.map((layer) => layer.physicalToLogical),
    logicalToPhysical: layers.map((layer) => slotsByExpert(layer, mostReplicas)),
    replicas: layers.map((layer) => layer.replicas),
    maxOverMean: layers.map((layer, i) => maxOverMean(rankLoads(layer, loads[i], topology.ranks))),
  };
}

interface LayerPlan {
  /** [slots] */
  readonly physicalToLogical: number[];
  /** [slots]: how many replicas of its expert were made before this one. */
  readonly copy: Int32Array;
  /** [experts] */
  readonly replicas: number[];
}

function placeLayer(loads: Float32Array, topology: ExpertTopology): LayerPlan {
  const { nodes, ranks } = topology;
  const slotsPerNode = topology.replicas / nodes;
  const slotsPerRank = topology.replicas / ranks;
  const physicalToLogical = filled(topology.replicas, 0);
  const copy = new Int32Array(topology.replicas);
  const replicas = filled(loads.length, 0);
  for (const [node, experts] of expertsByNode(loads, topology).entries()) {
    const replicated = replicate(loads, experts, slotsPerNode);
    const { pack, position } = packEvenly(replicated.loads, ranks / nodes);
    replicated.experts.forEach((expert, replica) => {
      const slot = node * slotsPerNode + pack[replica] * slotsPerRank + position[replica];
      physicalToLogical[slot] = expert;
      copy[slot] = replicas[expert]++;
    });
  }
  return { physicalToLogical, copy, replicas };
}

/** Packs groups to nodes; returns the logical experts of each node, in the order of its groups. */
function expertsByNode(loads: Float32Array, { groups, nodes }: ExpertTopology): Int32Array[] {
  const groupSize = loads.length / groups;
  const groupLoads = new Float32Array(groups).map((_, group) =>
    sumRow(loads, group * groupSize, groupSize),
  );
  const { pack, position } = packEvenly(groupLoads, nodes);
  const byNode = Array.from({ length: nodes }, () => new Int32Array(loads.length / nodes));
  for (let expert = 0; expert < loads.length; expert++) {
    const group = Math.floor(expert / groupSize);
    byNode[pack[group]][position[group] * groupSize + (expert % groupSize)] = expert;
  }
  return byNode;
}

/**
 * One replica of every expert, then, one at a time, another of the expert whose replicas carry most
 * each, the first of equals.
 * @returns the expert and the load of each replica, in the order in which they were made
 */
function replicate(
  loads: Float32Array,
  experts: Int32Array,
  replicas: number,
): { experts: Int32Array; loads: Float32Array } {
  const made = new Int32Array(replicas).map((_, i) => i);
  const counts = new Int32Array(experts.length).fill(1);
  const shares = Float32Array.from(experts, (expert) => loads[expert]);
  for (let replica = experts.length; replica < replicas; replica++) {
    const hottest = indexOfLargest(shares);
    made[replica] = hottest;
    shares[hottest] = loads[experts[hottest]] / ++counts[hottest];
  }
  return {
    experts: made.map((i) => experts[i]),
    loads: Float32Array.from(made, (i) => shares[i]),
  };
}

/** The first of equals. */
function indexOfLargest(values: Float32Array): number {
  let index = 0;
  let largest = values[0];
  for (let i = 1; i < values.length; i++) {
    const value = values[i];
    if (value > largest) {
      index = i;
      largest = value;
    }
  }
  return index;
}

/** [experts, width]: the slots of each expert in the order in which they were made, then -1. */
function slotsByExpert(layer: LayerPlan, width: number): number[][] {
  const padding = filled(width, -1);
  const slots = layer.replicas.map(() => padding.slice());
  layer.physicalToLogical.forEach((expert, slot) => {
    slots[expert][layer.copy[slot]] = slot;
  });
  return slots;
}

/** [ranks]: an expert's load is shared equally by its replicas. */
function rankLoads(layer: LayerPlan, loads: readonly number[], ranks: number): number[] {
  const perRank = filled(ranks, 0);
  const slotsPerRank = layer.physicalToLogical.length / ranks;
  layer.physicalToLogical.forEach((expert, slot) => {
    perRank[Math.floor(slot / slotsPerRank)] += loads[expert] / layer.replicas[expert];
  });
  return perRank;
}

function filled(length: number, value: number): number[] {
  return Array.from<number>({ length }).fill(value);
}

function assertPolicy(policy: string): void {
  if ((expertPolicies as readonly string[]).includes(policy)) return;
  throw new RangeError(`policy: expected ${expertPolicies.join(", ")}, got ${policy}`);
}

/** The topology that EPLB packs for: as given where it is hierarchical, one node where global. */
function effectiveTopology(given: ExpertTopology, experts: number): ExpertTopology {
  for (const name of ["replicas", "groups", "nodes", "ranks"] as const) {
    if (Number.isInteger(given[name]) && given[name] > 0) continue;
    throw new RangeError(`${name}: expected a whole number above 0, got ${given[name]}`);
  }
  const hierarchical = given.groups % given.nodes === 0;
  const { replicas, groups, nodes, ranks } = hierarchical
    ? given
    : { ...given, groups: 1, nodes: 1 };
  if (experts % groups !== 0) {
    throw new RangeError(`groups: expected a divisor of the ${experts} experts, got ${groups}`);
  }
  if (ranks % nodes !== 0) {
    throw new RangeError(`ranks: expected a multiple of the ${nodes} nodes, got ${ranks}`);
  }
  if (replicas % ranks !== 0) {
    throw new RangeError(`replicas: expected a multiple of the ${ranks} ranks, got ${replicas}`);
  }
  if (replicas < experts) {
    throw new RangeError(`replicas: expected at least the ${experts} experts, got ${replicas}`);
  }
  return { replicas, groups, nodes, ranks };
}

function assertLoads(loads: readonly (readonly number[])[]): void {
  if (loads.length === 0) throw new RangeError("loads: expected one or more layers, got none");
  const experts = loads[0].length;
  if (experts === 0) throw new RangeError("loads: layer 0: expected one or more experts, got none");
  for (const [layer, row] of loads.entries()) {
    if (row.length !== experts) {
      throw new RangeError(`loads: layer ${layer}: expected ${experts} experts, got ${row.length}`);
    }
    const bad = row.findIndex((load) => !(load >= 0 && Number.isFinite(Math.fround(load))));
    if (bad >= 0) {
      throw new RangeError(
        `loads: layer ${layer}, expert ${bad}: ` +
          `expected a finite float32 of at least 0, got ${row[bad]}`,
      );
    }
  }
}
