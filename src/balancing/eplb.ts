/**
 * DeepSeek's EPLB (github.com/deepseek-ai/EPLB at d52c72d), with the same placements down to its
 * float32 rounding and the order of equals.
 */
import { packEvenly } from "./packing.ts";
import { sumRow } from "./torch-arithmetic.ts";

export interface ExpertTopology {
  /** Physical experts of a layer, over all ranks. */
  readonly replicas: number;
  /** Groups of consecutive logical experts that a token's routing keeps or drops whole. */
  readonly groups: number;
  readonly nodes: number;
  /** Over all nodes. */
  readonly ranks: number;
}

/** One layer's experts. */
export interface LayerPlan {
  /** [slots] */
  readonly physicalToLogical: number[];
  /** [slots]: how many replicas of its expert were made before this one. */
  readonly copy: Int32Array;
  /** [experts] */
  readonly replicas: number[];
}

export function placeByEplb(loads: Float32Array, topology: ExpertTopology): LayerPlan {
  const { nodes, ranks } = topology;
  const slotsPerNode = topology.replicas / nodes;
  const slotsPerRank = topology.replicas / ranks;
  const physicalToLogical = Array.from({ length: topology.replicas }, () => 0);
  const copy = new Int32Array(topology.replicas);
  const replicas = Array.from(loads, () => 0);
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
export function expertsByNode(
  loads: Float32Array,
  { groups, nodes }: ExpertTopology,
): Int32Array[] {
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
