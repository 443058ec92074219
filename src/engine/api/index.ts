export { Engine } from "./client.ts";
export { expectEngines, nodesHere } from "./expect-engines.ts";
export type { Journey } from "./journeys.ts";
export type { EngineOptions, Rebalanced } from "./engine-options.ts";
export type { MaskSource, Step as MaskStep } from "./answer-masks.ts";
export type { ScaleChange, UnitScaling } from "./unit-scaling.ts";
