import type { ExpertPolicy } from "../../balancing/index.ts";
import type { Topology } from "../../cluster/index.ts";
import type { EngineStats } from "../messages.ts";
import type { Placement } from "../rank/index.ts";
import {
  balanced,
  imbalance,
  loadsOf,
  shapeOf,
  type ExpertLoads,
  type UnitShape,
} from "./expert-balance.ts";

export interface PlacementOptions {
  readonly topology: Topology;
  readonly nodeOfRank: readonly number[];
  /** By unit, at the start; null where each rank has all experts. */
  readonly placements: readonly (Placement | null)[];
  /** Groups of experts that a token's routing keeps or drops whole. */
  readonly groups: number;
  readonly expertPolicy: ExpertPolicy;
}

/** A unit's new placement, which its ranks are to be told. */
export interface ExpertMove {
  /** Index among the topology's units. */
  readonly unit: number;
  /** Ascending over all moves. */
  readonly version: number;
  readonly placement: Placement;
  /** Load of the busiest rank over the mean, for the loads that were counted. */
  readonly before: number;
  readonly after: number;
}

/** Where the experts of every unit lie, and for which loads they were placed. */
export class ExpertPlacements {
  readonly #units: readonly { readonly ranks: readonly number[]; readonly shape: UnitShape }[];
  readonly #placing: { readonly groups: number; readonly policy: ExpertPolicy };
  readonly #placements: (Placement | null)[];
  /** By unit, when its experts were last placed anew. */
  readonly #counted = new Map<number, ExpertLoads>();
  #version = 0;

  constructor({ topology, nodeOfRank, placements, ...options }: PlacementOptions) {
    this.#units = topology.units.map((unit) => ({
      ranks: unit.ranks,
      shape: shapeOf(unit, nodeOfRank),
    }));
    this.#placing = { groups: options.groups, policy: options.expertPolicy };
    this.#placements = [...placements];
  }

  /** By unit; null where each rank has all experts. */
  get current(): readonly (Placement | null)[] {
    return this.#placements;
  }

  /**
   * Places the experts of each unit anew for what its ranks have counted since the last time. A unit
   * that has lost a rank, has computed nothing or would be no better off stays as it is.
   * @param stats [ranks]
   */
  rebalance(stats: readonly EngineStats[]): ExpertMove[] {
    return [...this.#units.keys()].flatMap((unit) => this.#move(unit, stats) ?? []);
  }

  #move(unit: number, stats: readonly EngineStats[]): ExpertMove | undefined {
    const { ranks, shape } = this.#units[unit];
    const own = ranks.map((rank) => stats[rank]);
    const current = this.#placements[unit];
    if (!current || own.some(({ lost }) => lost !== undefined)) return undefined;
    const counted = loadsOf(own, current.length);
    const loads = counted && this.#countedSince(unit, counted);
    if (!loads) return undefined;
    const placing = { ...this.#placing, physical: current[0].length, current };
    const placement = balanced(loads, placing, shape);
    const before = imbalance(loads, current, ranks.length);
    const after = imbalance(loads, placement, ranks.length);
    if (after >= before) return undefined;
    this.#placements[unit] = placement;
    return { unit, version: ++this.#version, placement, before, after };
  }

  /** What was counted since this was last asked. */
  #countedSince(unit: number, loads: ExpertLoads): ExpertLoads | undefined {
    const earlier = this.#counted.get(unit);
    this.#counted.set(unit, loads);
    if (!earlier) return loads;
    const since = loads.map((layer, l) => layer.map((load, e) => load - earlier[l][e]));
    return since.flat().some((load) => load > 0) ? since : undefined;
  }
}
