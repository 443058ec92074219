import { parseTopology, type Topology } from "../../cluster/index.ts";
import type { Engine, EngineStats, Rebalanced } from "../../engine/index.ts";
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

/** What a status needs to know of the ranks behind a gateway. */
export interface ClusterView {
  readonly topology: Topology;
  /** The node of each rank. */
  readonly nodeOfRank: readonly number[];
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
    topology: engine.topology,
    nodeOfRank: engine.nodeOfRank,
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
    placements: () => [[]],
    rankStats: async () => [await engine.stats()],
    rebalance: async () => [],
  };
}
