import {
  maxOverMean,
  rebalanceExperts,
  type ExpertPlacing,
  type ExpertPolicy,
} from "../../balancing/index.ts";
import type { Clock, Unit, UnitRole } from "../../cluster/index.ts";
import { orderedPlacement } from "../../expert-parallel/index.ts";
import type { ModelConfig } from "../../model/index.ts";
import type { EngineStats } from "../messages.ts";
import type { Placement } from "../rank/index.ts";

/** How often each logical expert is chosen, by layer of routed experts. */
export type ExpertLoads = readonly (readonly number[])[];

/** With few moves, which is what a unit waits for. */
export const defaultPolicy: ExpertPolicy = "best";

/** How the experts of units are to lie at the start. */
export interface ExpertOptions {
  /** Logical expert of each physical one, by layer; decides alone where given. */
  readonly placement?: Placement;
  /** Physical experts of a unit beyond one for each logical expert. */
  readonly redundantExperts?: number;
  /** Loads recorded earlier, for which experts are replicated and placed; else they lie in order. */
  readonly expertLoads?: ExpertLoads;
  /** How they are placed for loads, at the start and later. */
  readonly policy?: ExpertPolicy;
}

/** @throws RangeError that names what does not fit */
export function initialPlacement(
  options: ExpertOptions,
  config: ModelConfig,
  unit: UnitShape,
): Placement {
  const { placement, expertLoads } = options;
  if (placement) return placement;
  const { gate, layers, firstDense } = config;
  const moeLayers = layers - firstDense;
  const placing = placingOf(options, config);
  if (expertLoads) {
    if (expertLoads.length !== moeLayers) {
      throw new RangeError(`loads: expected ${moeLayers} layers, got ${expertLoads.length}`);
    }
    return balanced(expertLoads, placing, unit);
  }
  const inOrder = orderedPlacement(gate.experts, unit.ranks, placing.physical).physicalToLogical;
  return Array.from({ length: moeLayers }, () => [...inOrder]);
}

export const placingOf = (
  { redundantExperts = 0, policy = defaultPolicy }: ExpertOptions,
  { gate }: ModelConfig,
): Placing => ({ physical: gate.experts + redundantExperts, groups: gate.groups, policy });

export interface UnitShape {
  readonly role: UnitRole;
  readonly ranks: number;
  /** Over which the ranks are spread. */
  readonly nodes: number;
}

export const shapeOf = ({ role, ranks }: Unit, nodeOfRank: readonly number[]): UnitShape => ({
  role,
  ranks: ranks.length,
  nodes: new Set(ranks.map((rank) => nodeOfRank[rank])).size,
});

/** A unit's physical experts, and how they are to be placed. */
export interface Placing extends ExpertPlacing {
  /** Physical experts. */
  readonly physical: number;
  readonly groups: number;
}

/**
 * A placement with as many slots on every rank as the physical experts need. As EPLB's README says,
 * groups are kept on one node where prompts are computed, and in decode units, which have more ranks,
 * experts may go anywhere.
 */
export function balanced(
  loads: ExpertLoads,
  { physical, groups, ...placing }: Placing,
  { role, ranks, nodes }: UnitShape,
): Placement {
  const replicas = Math.ceil(physical / ranks) * ranks;
  const keepsGroups = role !== "decode" && ranks % nodes === 0;
  const topology = { replicas, groups, ranks, nodes: keepsGroups ? nodes : 1 };
  return rebalanceExperts(loads, { ...topology, ...placing }).physicalToLogical;
}

/** As `balanced`; a search may take a tenth of a second, and others have their turn after each layer's. */
export async function balancedInTurns(
  loads: ExpertLoads,
  { current, ...placing }: Placing,
  unit: UnitShape,
  clock: Pick<Clock, "soon">,
): Promise<Placement> {
  const placement: (readonly number[])[] = [];
  for (const [layer, own] of loads.entries()) {
    const from = current && [current[layer]];
    placement.push(...balanced([own], { ...placing, current: from }, unit));
    await new Promise<void>((resolve) => clock.soon(resolve));
  }
  return placement;
}

/**
 * What a unit's ranks have counted together, of so many layers; undefined before any of them has
 * computed. A rank in its first step has counted some layers only: it counts from the next time on.
 */
export function loadsOf(stats: readonly EngineStats[], layers: number): ExpertLoads | undefined {
  const counted = stats.flatMap(({ traffic }) =>
    traffic && traffic.expertLoads.length === layers ? [traffic.expertLoads] : [],
  );
  if (counted.length === 0) return undefined;
  return counted.reduce((sum, loads) =>
    sum.map((layer, l) => layer.map((load, expert) => load + loads[l][expert])),
  );
}

/** What was counted since. Counts of a rank that began anew may be lower than they were. */
export const loadsSince = (loads: ExpertLoads, earlier: ExpertLoads): number[][] =>
  loads.map((layer, l) => layer.map((load, expert) => Math.max(0, load - earlier[l][expert])));

/** The busiest rank's load over the mean, the mean over layers; replicas share evenly. */
export function imbalance(loads: ExpertLoads, placement: Placement, ranks: number): number {
  const layers = placement.map((map, layer) => {
    const replicas = new Map<number, number>();
    for (const expert of map) replicas.set(expert, (replicas.get(expert) ?? 0) + 1);
    const slots = map.length / ranks;
    const ofRanks = Array.from({ length: ranks }, () => 0);
    for (const [place, expert] of map.entries()) {
      ofRanks[Math.floor(place / slots)] += loads[layer][expert] / (replicas.get(expert) ?? 1);
    }
    return maxOverMean(ofRanks);
  });
  return layers.reduce((sum, layer) => sum + layer, 0) / layers.length;
}
