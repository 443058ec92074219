export type { Mtp, MtpBatch } from "./mtp.ts";
export { forwardCosts, type ForwardCosts } from "./costs.ts";
export { type ChosenTokens, loadModel, Model, type ModelOptions } from "./model.ts";
export {
  type ExpertBatch,
  type ExpertFlight,
  type ExpertOutput,
  GroupedMlp,
  LocalExperts,
  type RoutedExperts,
} from "./routed-experts.ts";
export { passLayers, type Order, type Stages } from "./overlap.ts";
export { argmax, SingleSequence } from "./single-sequence.ts";
export type { KvPool, StepBatch } from "./step.ts";
export { streamTracer } from "./stream-tracer.ts";
