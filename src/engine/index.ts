export { greedySampling, type SamplingParameters, type TokenLogprob } from "../kernels/index.ts";
export { Engine, EngineError, type EngineOptions } from "./client.ts";
export { EngineCore, type CoreOptions } from "./core.ts";
export type { EngineStats, FinishReason, GenerationEvent, GenerationRequest } from "./messages.ts";
