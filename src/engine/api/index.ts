export { Engine, type EngineOptions, type Rebalanced } from "./client.ts";
