export { greedySampling, type SamplingParameters, type TokenLogprob } from "../kernels/index.ts";
export {
  Engine,
  type EngineOptions,
  expectEngines,
  nodesHere,
  type Journey,
  type MaskSource,
  type MaskStep,
  type Rebalanced,
  type ScaleChange,
  type UnitScaling,
} from "./api/index.ts";
export {
  defaultPolicy,
  type ExpertLoads,
  type ExpertOptions,
  ExpertPlacements,
  imbalance as expertImbalance,
  loadsOf as expertLoadsOf,
  loadsSince as expertLoadsSince,
  Router,
} from "./routing/index.ts";
export {
  boundHeaps,
  EngineError,
  type JoinedNodeOptions,
  type NodeOptions,
  serveNode,
  type UnitLife,
  type UnitState,
  unitStates,
  version,
  type WantedUnits,
} from "./fleet/index.ts";
export {
  EngineCore,
  type CoreOptions,
  overlapModes,
  type OverlapMode,
  type Placement,
  type Speculator,
  type StepComputer,
} from "./rank/index.ts";
export { Repeats, Speculation } from "./speculation/index.ts";
export type {
  AskedRequest,
  EngineStats,
  FinishReason,
  GenerationEvent,
  GenerationRequest,
  TimedEvent,
} from "./messages.ts";
