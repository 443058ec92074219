export type { CoreOptions, Speculator, StepComputer } from "./core-options.ts";
export { EngineCore } from "./core.ts";
export { overlapModes, type OverlapMode } from "./overlap-vote.ts";
export type { ContextCacheOptions, Placement, RankOptions, RankPlace } from "./rank-options.ts";
export { Rank } from "./rank.ts";
export { RankLoop, type RankPort } from "./rank-loop.ts";
