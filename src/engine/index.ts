export { greedySampling, type SamplingParameters, type TokenLogprob } from "../kernels/index.ts";
export { Engine, type EngineOptions } from "./client.ts";
export { version } from "./cluster-identity.ts";
export type { NodeOptions } from "./cluster.ts";
export { serveNode } from "./joined-node.ts";
export { EngineError } from "./rank-worker.ts";
export { EngineCore, type CoreOptions } from "./core.ts";
export type { Placement } from "./rank.ts";
export type { EngineStats, FinishReason, GenerationEvent, GenerationRequest } from "./messages.ts";
