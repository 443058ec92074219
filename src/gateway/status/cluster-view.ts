import { parseTopology, type Topology } from "../../cluster/index.ts";
import type { Engine, EngineStats, Rebalanced, UnitLife, WantedUnits } from "../../engine/index.ts";
import { readConfig } from "../../model/index.ts";
import type { EngineDriver } from "../engine-driver.ts";

/** A unit's physical experts in one layer. */
export interface PlacedLayer {
  /** Index of the layer in the model. */
  readonly layer: number;
  /** Logical expert of each physical one; the unit's ranks hold equal parts, in order. */
  readonly physicalToLogical: readonly number[];
  /** Number of logical experts. */
  readonly experts: number;
}

/** A unit as it is now. */
export type UnitView = Pick<UnitLife, "unit" | "role" | "state">;

/** What a status needs to know of the ranks behind a gateway. */
export interface ClusterView {
  /** As it is now; ranks' numbers may have gaps. */
  readonly topology: Topology;
  /** The node of each rank. */
  readonly nodeOfRank: readonly number[];
  /** In the topology's order. */
  units(): readonly UnitView[];
  /** Why units that are wanted do not start. */
  problems(): readonly string[];
  /** So many units are to serve. @throws RangeError where that makes no sense */
  scale(wanted: WantedUnits): void;
  /** By unit, as they are now; empty where every rank holds all experts. */
  placements(): readonly (readonly PlacedLayer[])[];
  /** Of each rank, by its number. */
  rankStats(): Promise<readonly EngineStats[]>;
  /** Places the experts of units anew for the loads they have counted. */
  rebalance(): Promise<readonly Rebalanced[]>;
}

/** The ranks of an engine over its own cluster. */
export async function viewCluster(engine: Engine, modelDirectory: string): Promise<ClusterView> {
  const { gate, firstDense } = await readConfig(modelDirectory);
  return {
    get topology() {
      return engine.topology;
    },
    get nodeOfRank() {
      return engine.nodeOfRank;
    },
    units: () => engine.units,
    problems: () => engine.problems,
    scale: (wanted) => engine.scale(wanted),
    placements: () =>
      engine.placements.map((unit) =>
        (unit ?? []).map((physicalToLogical, index) => ({
          layer: firstDense + index,
          physicalToLogical,
          experts: gate.experts,
        })),
      ),
    rankStats: () => engine.rankStats(),
    rebalance: () => engine.rebalance(),
  };
}

/** An engine of which no more is known, as one rank. */
export function viewDriver(engine: EngineDriver): ClusterView {
  return {
    topology: parseTopology("combined=1x1"),
    nodeOfRank: [0],
    units: () => [{ unit: 0, role: "combined", state: "serving" }],
    problems: () => [],
    scale: (wanted) => {
      if (Object.keys(wanted).length === 0) return;
      throw new RangeError("this engine has one unit for good");
    },
    placements: () => [[]],
    rankStats: async () => [await engine.stats()],
    rebalance: async () => [],
  };
}
