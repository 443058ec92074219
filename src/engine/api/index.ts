export { Engine, type MaskSource } from "./client.ts";
export type { EngineOptions, Rebalanced } from "./engine-options.ts";
