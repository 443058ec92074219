import {
  isWorthMoving,
  mayBeWorthMoving,
  predictLoads,
  type ExpertPolicy,
} from "../../balancing/index.ts";
import type { Clock, Topology } from "../../cluster/index.ts";
import type { EngineStats } from "../messages.ts";
import type { Placement } from "../rank/index.ts";
import {
  balanced,
  balancedInTurns,
  imbalance,
  loadsOf,
  loadsSince,
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
  readonly clock: Pick<Clock, "soon">;
}

/** A unit's new placement, which its ranks are to be told. */
export interface ExpertMove {
  /** Its number. */
  readonly unit: number;
  readonly ranks: readonly number[];
  /** Ascending over all moves. */
  readonly version: number;
  readonly placement: Placement;
  /** Load of the busiest rank over the mean, for the loads that were counted. */
  readonly before: number;
  readonly after: number;
}

/** Milliseconds of a window of loads, and how many of them tell what comes. */
const WINDOW_MS = 10_000;
const WINDOWS = 4;

/** What a unit that places its experts by itself knows of their loads. */
interface UnitWatch {
  /** Oldest first. */
  readonly windows: ExpertLoads[];
  began: number;
  counted: ExpertLoads;
  /** The layer to be looked at next, and how many are since the last window ended. */
  layer: number;
  left: number;
  /** Steps that the unit's ranks had made when its experts last moved. */
  movedAt: number;
}

/** Where the experts of every unit lie, and for which loads they were placed. */
export class ExpertPlacements {
  /** By number. */
  readonly #units = new Map<number, PlacedUnit>();
  readonly #placing: { readonly groups: number; readonly policy: ExpertPolicy };
  readonly #clock: Pick<Clock, "soon">;
  #version = 0;

  constructor({ topology, nodeOfRank, placements, ...options }: PlacementOptions) {
    this.#clock = options.clock;
    this.#placing = { groups: options.groups, policy: options.expertPolicy };
    for (const [number, unit] of topology.units.entries()) {
      this.add(number, unit.ranks, shapeOf(unit, nodeOfRank), placements[number]);
    }
  }

  /** A unit that has started. */
  add(
    number: number,
    ranks: readonly number[],
    shape: UnitShape,
    placement: Placement | null,
  ): void {
    this.#units.set(number, { ranks, shape, placement, ...unknownLoads });
  }

  delete(number: number): void {
    this.#units.delete(number);
  }

  /** Null where each rank of the unit has all experts. */
  of(number: number): Placement | null {
    return this.#units.get(number)?.placement ?? null;
  }

  /**
   * Places the experts of each unit anew for what its ranks have counted since the last time. A unit
   * that has lost a rank, has computed nothing or would be no better off stays as it is. A layer at a time,
   * so that others have their turn.
   * @param stats [ranks]
   */
  async rebalance(stats: readonly EngineStats[]): Promise<ExpertMove[]> {
    const moves: ExpertMove[] = [];
    for (const [number, unit] of [...this.#units]) {
      if (unit.isBeingPlaced) continue;
      unit.isBeingPlaced = true;
      try {
        moves.push(...(await this.#move(number, unit, stats)));
      } finally {
        unit.isBeingPlaced = false;
      }
    }
    return moves;
  }

  /**
   * Looks at one layer of each unit in turn, at most once for a window, and places its experts anew if that pays
   * for the loads of the last windows. No more of a unit moves until its ranks have stepped, so that no step
   * waits for more new experts on a rank than the rank has slots in a layer. To be called about twice a second.
   * @param stats [ranks]
   * @param now milliseconds
   */
  balance(stats: readonly EngineStats[], now: number): ExpertMove[] {
    return [...this.#units].flatMap(
      ([number, unit]) => this.#balanceLayer(number, unit, stats, now) ?? [],
    );
  }

  #balanceLayer(
    number: number,
    unit: PlacedUnit,
    stats: readonly EngineStats[],
    now: number,
  ): ExpertMove | undefined {
    const { ranks, shape, placement: current } = unit;
    const own = ranks.map((rank) => stats[rank]);
    if (!current || unit.isBeingPlaced || own.some(({ lost }) => lost !== undefined)) {
      return undefined;
    }
    const counted = loadsOf(own, current.length);
    const watch = counted && watched(unit, counted, now);
    const steps = Math.min(...own.map((each) => each.steps));
    if (!watch || watch.left === 0 || steps <= watch.movedAt) return undefined;
    watch.left--;
    const layer = watch.layer++ % current.length;
    const loads = predictLoads(watch.windows.map((window) => [window[layer]]));
    const from = current[layer];
    if (!mayBeWorthMoving(loads[0], from, ranks.length)) return undefined;
    const placing = { ...this.#placing, physical: from.length, current: [from] };
    const [to] = balanced(loads, placing, shape);
    if (!isWorthMoving(loads[0], { from, to, ranks: ranks.length })) return undefined;
    watch.movedAt = steps;
    unit.placement = current.with(layer, to);
    const [before, after] = [from, to].map((map) => imbalance(loads, [map], ranks.length));
    return {
      unit: number,
      ranks,
      version: ++this.#version,
      placement: unit.placement,
      before,
      after,
    };
  }

  async #move(
    number: number,
    unit: PlacedUnit,
    stats: readonly EngineStats[],
  ): Promise<ExpertMove[]> {
    const { ranks, shape, placement: current } = unit;
    const own = ranks.map((rank) => stats[rank]);
    if (!current || own.some(({ lost }) => lost !== undefined)) return [];
    const counted = loadsOf(own, current.length);
    const loads = counted && countedSince(unit, counted);
    if (!loads) return [];
    const placing = { ...this.#placing, physical: current[0].length, current };
    const placement = await balancedInTurns(loads, placing, shape, this.#clock);
    const before = imbalance(loads, current, ranks.length);
    const after = imbalance(loads, placement, ranks.length);
    // It may have ended meanwhile.
    if (after >= before || this.#units.get(number) !== unit) return [];
    unit.placement = placement;
    return [{ unit: number, ranks, version: ++this.#version, placement, before, after }];
  }
}

interface PlacedUnit {
  readonly ranks: readonly number[];
  readonly shape: UnitShape;
  placement: Placement | null;
  /** When its experts were last placed anew. */
  counted: ExpertLoads | undefined;
  watch: UnitWatch | undefined;
  isBeingPlaced: boolean;
}

const unknownLoads = { counted: undefined, watch: undefined, isBeingPlaced: false };

/** What was counted since this was last asked. */
function countedSince(unit: PlacedUnit, loads: ExpertLoads): ExpertLoads | undefined {
  const earlier = unit.counted;
  unit.counted = loads;
  if (!earlier) return loads;
  const since = loadsSince(loads, earlier);
  return since.flat().some((load) => load > 0) ? since : undefined;
}

/** Ends a window that has lasted long enough; a window in which nothing was computed does not count. */
function watched(unit: PlacedUnit, counted: ExpertLoads, now: number): UnitWatch {
  const watch = (unit.watch ??= {
    windows: [],
    began: now,
    counted,
    layer: 0,
    left: 0,
    movedAt: -1,
  });
  if (now - watch.began < WINDOW_MS) return watch;
  const since = loadsSince(counted, watch.counted);
  if (since.flat().some((load) => load > 0)) {
    watch.windows.push(since);
    watch.left = counted.length;
  }
  if (watch.windows.length > WINDOWS) watch.windows.shift();
  watch.began = now;
  watch.counted = counted;
  return watch;
}
