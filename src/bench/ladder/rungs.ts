import type { Topology } from "../../cluster/index.ts";
import type { EngineOptions, ExpertLoads } from "../../engine/index.ts";

/** A step of the article's ladder: what an engine does from here on. */
export interface Rung {
  readonly name: string;
  /** `loads`: how often experts were chosen, where they have been counted. */
  readonly options: (
    loads: ExpertLoads | undefined,
  ) => Pick<EngineOptions, "experts" | "overlap" | "routing">;
}

/** Physical experts beyond the logical ones that the expert balancer may use, on each rank. */
const REDUNDANT_A_RANK = 1;

/**
 * DeepSeek's day 6, one idea after the other: all experts everywhere, experts spread over the ranks,
 * communication hidden behind computation, and loads balanced.
 */
export function ladderRungs({ units }: Topology): Rung[] {
  const ranks = Math.max(...units.map((unit) => unit.ranks.length));
  const redundantExperts = REDUNDANT_A_RANK * ranks;
  const [overlap, routing] = ["auto", "turns"] as const;
  return [
    {
      name: "data parallel",
      options: () => ({ experts: "replicated", overlap: "off", routing }),
    },
    { name: "+ expert parallelism", options: () => ({ overlap: "off", routing }) },
    { name: "+ overlap", options: () => ({ overlap, routing }) },
    { name: "+ prefill and decode balancers", options: () => ({ overlap }) },
    {
      name: "+ expert balancer",
      options: (expertLoads) => ({
        overlap,
        experts: { redundantExperts, ...(expertLoads && { expertLoads }) },
      }),
    },
  ];
}
