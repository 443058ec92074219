import { assignRanks, defaultTopology } from "../../cluster/index.ts";
import { expectMemory } from "../fleet/index.ts";
import type { EngineOptions } from "./engine-options.ts";

/** The node of each rank of an engine that is on this machine: where nodes are waited for, others are elsewhere. */
export function nodesHere({ topology = defaultTopology, nodes }: EngineOptions): number[] {
  const nodeOfRank = assignRanks(topology, nodes?.count ?? 1);
  return nodes?.await ? nodeOfRank.filter((node) => node === 0) : nodeOfRank;
}

/**
 * Of engines that are to run beside each other on this machine, before any of them is started.
 * @throws EngineError where its memory does not hold the ranks of all
 */
export function expectEngines(engines: readonly EngineOptions[]): Promise<void> {
  const needed = engines.map((options) => {
    const { kvMemoryBytes, packed, modelDirectory, weights = "mapped" } = options;
    // Other machines look after themselves.
    const here = nodesHere(options);
    const own = { ranks: here.length, nodes: new Set(here).size };
    return { ...own, kvMemoryBytes, weights, packed, modelDirectory };
  });
  return expectMemory(needed);
}
