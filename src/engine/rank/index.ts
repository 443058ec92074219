export { type CoreOptions, EngineCore, type Speculator } from "./core.ts";
export type { ContextCacheOptions, Placement, RankOptions, RankPlace } from "./rank-options.ts";
export { Rank } from "./rank.ts";
export { RankLoop, type RankPort } from "./rank-loop.ts";
