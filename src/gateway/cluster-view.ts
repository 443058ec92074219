import { parseTopology, type Topology } from "../cluster/index.ts";
import type { Engine, EngineOptions, EngineStats } from "../engine/index.ts";
import { orderedPlacement } from "../expert-parallel/index.ts";
import { readConfig } from "../model/index.ts";
import type { EngineDriver } from "./engine-driver.ts";

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
  /** By unit; empty where every rank holds all experts. */
  readonly placements: readonly (readonly PlacedLayer[])[];
  /** Of each rank, by its number. */
  rankStats(): Promise<readonly EngineStats[]>;
}

/** The ranks of an embedded engine, with the placement its options ask for. */
export async function viewCluster(
  engine: Pick<Engine, "topology" | "rankStats">,
  options: Pick<EngineOptions, "modelDirectory" | "experts" | "placement">,
): Promise<ClusterView> {
  const { gate, layers, firstDense } = await readConfig(options.modelDirectory);
  const placements = engine.topology.units.map(({ ranks }) => {
    if (ranks.length === 1 || options.experts === "replicated") return [];
    const inOrder = [...orderedPlacement(gate.experts, ranks.length).physicalToLogical];
    return Array.from({ length: layers - firstDense }, (_, index) => ({
      layer: firstDense + index,
      physicalToLogical: options.placement?.[index] ?? inOrder,
      experts: gate.experts,
    }));
  });
  return { topology: engine.topology, placements, rankStats: () => engine.rankStats() };
}

/** An engine of which no more is known, as one rank. */
export function viewDriver(engine: EngineDriver): ClusterView {
  return {
    topology: parseTopology("combined=1x1"),
    placements: [[]],
    rankStats: async () => [await engine.stats()],
  };
}
