export type { ModelConfig } from "./config.ts";
export { readConfig } from "./config.ts";
export { CheckpointError } from "./safetensors.ts";
export { inspectModel, type Inspection } from "./inspect.ts";
export type { KvPool, StepBatch } from "./step.ts";
export { loadModel, Model, type ModelOptions } from "./model.ts";
export { argmax, SingleSequence } from "./single-sequence.ts";
