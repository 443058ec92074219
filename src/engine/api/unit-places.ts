import type { Topology } from "../../cluster/index.ts";
import type { UnitLife } from "../fleet/index.ts";

/** Units and their ranks, whose numbers have gaps once ranks have ended. */
export function topologyOf(lives: readonly UnitLife[]): Topology {
  const units = lives.map(({ role, ranks }) => ({ role, ranks: ranks.map(({ rank }) => rank) }));
  return { units, ranks: units.reduce((sum, { ranks }) => sum + ranks.length, 0) };
}

/** The node of each rank, by its number. */
export function nodesOf(lives: readonly UnitLife[]): number[] {
  const nodes: number[] = [];
  for (const { rank, node } of lives.flatMap(({ ranks }) => ranks)) nodes[rank] = node;
  return nodes;
}
