/**
 * The expert-parallel balancer: hot experts get replicas, and replicas are packed so that the busiest
 * rank, which every other waits for, has little more than its share.
 */
import { maxOverMean } from "./balance.ts";
import { placeBest } from "./best-experts.ts";
import { placeByEplb, type ExpertTopology, type LayerPlan } from "./eplb.ts";

/**
 * `eplb`: DeepSeek's; `best`: by search from there, or from where experts lie now. Both are
 * hierarchical where the nodes divide the groups, otherwise global.
 */
export const expertPolicies = ["eplb", "best"] as const;
export type ExpertPolicy = (typeof expertPolicies)[number];

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

export interface ExpertPlacing {
  readonly policy: ExpertPolicy;
  /** [layers, replicas]: the logical expert that each slot has now. `best` moves few of them. */
  readonly current?: readonly (readonly number[])[] | undefined;
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
  options: ExpertTopology & ExpertPlacing,
): ExpertPlan {
  assertPolicy(options.policy);
  assertLoads(loads);
  const topology = effectiveTopology(options, loads[0].length);
  const { policy, current } = options;
  assertCurrent(current, loads, topology.replicas);
  const layers = loads.map((layer, i) => {
    const rounded = Float32Array.from(layer);
    if (policy === "eplb") return placeByEplb(rounded, topology);
    return planOf(placeBest(rounded, topology, current?.[i]), layer.length);
  });
  const mostReplicas = Math.max(...layers.map((layer) => Math.max(...layer.replicas)));
  return {
    physicalToLogical: layers.map((layer) => layer.physicalToLogical),
    logicalToPhysical: layers.map((layer) => slotsByExpert(layer, mostReplicas)),
    replicas: layers.map((layer) => layer.replicas),
    maxOverMean: layers.map((layer, i) => maxOverMean(rankLoads(layer, loads[i], topology.ranks))),
  };
}

/** Replicas count in the order of their slots. */
function planOf(physicalToLogical: number[], experts: number): LayerPlan {
  const replicas = filled(experts, 0);
  const copy = Int32Array.from(physicalToLogical, (expert) => replicas[expert]++);
  return { physicalToLogical, copy, replicas };
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

function assertCurrent(
  current: ExpertPlacing["current"],
  loads: readonly (readonly number[])[],
  replicas: number,
): void {
  if (!current) return;
  if (current.length !== loads.length) {
    throw new RangeError(`current: expected ${loads.length} layers, got ${current.length}`);
  }
  for (const [layer, map] of current.entries()) {
    if (map.length !== replicas) {
      throw new RangeError(
        `current: layer ${layer}: expected ${replicas} slots, got ${map.length}`,
      );
    }
    const bad = map.find((expert) => loads[layer][expert] === undefined);
    if (bad === undefined && new Set(map).size === loads[layer].length) continue;
    throw new RangeError(`current: layer ${layer}: expected every expert, and no other`);
  }
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
