import { parseTopology, type Topology } from "../../cluster/index.ts";
import {
  type Engine,
  EngineError,
  type EngineStats,
  type Journey,
  type Rebalanced,
  type UnitLife,
  type UnitScaling,
  type WantedUnits,
} from "../../engine/index.ts";
import { readConfig } from "../../model/index.ts";
import type { EngineDriver } from "../engine-driver.ts";

/** A unit's physical experts in one layer; of ranks that share none, those that each has. */
export interface PlacedLayer {
  /** Index of the layer in the model. */
  readonly layer: number;
  /** Logical expert of each physical one; ranks that share them hold equal parts, in order. */
  readonly physicalToLogical: readonly number[];
  /** Number of logical experts. */
  readonly experts: number;
}

/** A unit as it is now. */
export type UnitView = Pick<UnitLife, "unit" | "role" | "state">;

/** A unit's layers of experts. */
export interface UnitExperts {
  /** Whether its ranks share them; else every rank holds all. */
  readonly shared: boolean;
  readonly layers: readonly PlacedLayer[];
}

/** What a status needs to know of the ranks behind a gateway. */
export interface ClusterView {
  /** As it is now; ranks' numbers may have gaps. */
  readonly topology: Topology;
  /** The node of each rank. */
  readonly nodeOfRank: readonly number[];
  /** In the topology's order. */
  units(): readonly UnitView[];
  /** How many units are wanted, and how that came about. */
  readonly scaling: Pick<UnitScaling, "wanted" | "changes" | "countsOf">;
  /** Why units that are wanted do not start. */
  problems(): readonly string[];
  /** So many units are to serve. @throws RangeError where that makes no sense */
  scale(wanted: WantedUnits): void;
  /** By unit, as they are now. */
  placements(): readonly UnitExperts[];
  /** Of each rank, by its number. Rejects once the engine has ended. */
  rankStats(): Promise<readonly EngineStats[]>;
  /** Sequences on their way, and those that ended since `time`; a bounded number. */
  journeysSince(time: number): readonly Readonly<Journey>[];
  /** Places the experts of units anew for the loads they have counted. */
  rebalance(): Promise<readonly Rebalanced[]>;
}

/** The ranks of an engine over its own cluster. */
export async function viewCluster(engine: Engine, modelDirectory: string): Promise<ClusterView> {
  const { gate, firstDense, layers } = await readConfig(modelDirectory);
  const inOrder = Array.from({ length: gate.experts }, (_, expert) => expert);
  const allOnEach = Array.from({ length: layers - firstDense }, () => inOrder);
  return {
    get topology() {
      return engine.topology;
    },
    get nodeOfRank() {
      return engine.nodeOfRank;
    },
    units: () => engine.units,
    scaling: engine.scaling,
    problems: () => engine.problems,
    scale: (wanted) => engine.scale(wanted, "POST /scale asked for it"),
    placements: () =>
      engine.placements.map((unit) => ({
        shared: unit !== null,
        layers: (unit ?? allOnEach).map((physicalToLogical, index) => ({
          layer: firstDense + index,
          physicalToLogical,
          experts: gate.experts,
        })),
      })),
    rankStats: async () => {
      if (engine.ended !== undefined) throw new EngineError(engine.ended);
      return engine.rankStats();
    },
    journeysSince: (time) => engine.journeysSince(time),
    rebalance: () => engine.rebalance(),
  };
}

/** An engine of which no more is known, as one rank. */
export function viewDriver(engine: EngineDriver): ClusterView {
  return {
    topology: parseTopology("combined=1x1"),
    nodeOfRank: [0],
    units: () => [{ unit: 0, role: "combined", state: "serving" }],
    scaling: {
      wanted: { combined: 1 },
      changes: [],
      countsOf: () => ({ up: 0, down: 0 }),
    },
    problems: () => [],
    scale: (wanted) => {
      if (Object.keys(wanted).length === 0) return;
      throw new RangeError("this engine has one unit for good");
    },
    placements: () => [{ shared: false, layers: [] }],
    rankStats: async () => [await engine.stats()],
    journeysSince: () => [],
    rebalance: async () => [],
  };
}
