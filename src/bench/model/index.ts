export {
  cachedCheckpoint,
  checkpointCache,
  packedCheckpoint,
  packedFolderOf,
} from "./cached-checkpoint.ts";
export { ModelBench, type ModelBenchOptions } from "./model-bench.ts";
export type { Measured } from "./model-figures.ts";
export { writeRandomCheckpoint } from "./random-checkpoint.ts";
export { RandomValues } from "./random-values.ts";
export { type ShapeName, shapes } from "./shapes.ts";
export type { Workload } from "./workload.ts";
export { roofOf, type Speeds, type Work } from "./roof.ts";
export { stepBytes, type StepBytes } from "./step-bytes.ts";
export { stepOperations, total as totalOperations } from "./step-operations.ts";
