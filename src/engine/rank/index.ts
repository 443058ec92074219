export { type CoreOptions, EngineCore } from "./core.ts";
export type { ContextCacheOptions, Placement, RankOptions, RankPlace } from "./rank-options.ts";
export { Rank } from "./rank.ts";
export { UnheardReports } from "./unheard-reports.ts";
