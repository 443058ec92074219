export { sampleRows } from "./choose.ts";
export { allows, onlyToken } from "./mask.ts";
export { greedySampling, type SamplingParameters } from "./parameters.ts";
export { type ChosenToken, StepSampling, type TokenChoice, type TokenLogprob } from "./sample.ts";
export { SamplingState } from "./state.ts";
