export { cachedCheckpoint, checkpointCache } from "./cached-checkpoint.ts";
export { ModelBench, type ModelBenchOptions } from "./model-bench.ts";
export type { Measured } from "./model-figures.ts";
export { writeRandomCheckpoint } from "./random-checkpoint.ts";
export { RandomValues } from "./random-values.ts";
export { type ShapeName, shapes } from "./shapes.ts";
export type { Workload } from "./workload.ts";
export { stepBytes, type StepBytes } from "./step-bytes.ts";
