export { cachedCheckpoint, checkpointCache } from "./cached-checkpoint.ts";
export { ModelBench, type ModelBenchOptions } from "./model-bench.ts";
export type { Measured } from "./model-figures.ts";
export { shapes, type ShapeName } from "./shapes.ts";
export type { Workload } from "./workload.ts";
