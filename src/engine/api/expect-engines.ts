import { assignRanks, defaultTopology } from "../../cluster/index.ts";
import { expectMemory } from "../fleet/index.ts";
import type { EngineOptions } from "./engine-options.ts";

/**
 * Of engines that are to run beside each other on this machine, before any of them is started.
 * @throws EngineError where its memory does not hold the ranks of all
 */
export function expectEngines(engines: readonly EngineOptions[]): Promise<void> {
  const needed = engines.map((options) => {
    const { topology = defaultTopology, nodes, weights = "mapped", ...others } = options;
    const { kvMemoryBytes, packed, modelDirectory } = others;
    const nodeOfRank = assignRanks(topology, nodes?.count ?? 1);
    // Other machines look after themselves.
    const here = nodes?.await ? nodeOfRank.filter((node) => node === 0) : nodeOfRank;
    const own = { ranks: here.length, nodes: new Set(here).size };
    return { ...own, kvMemoryBytes, weights, packed, modelDirectory };
  });
  return expectMemory(needed);
}
