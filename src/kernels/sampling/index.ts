export { sampleRows } from "./choose.ts";
export {
  type ChosenToken,
  greedySampling,
  type SamplingParameters,
  StepSampling,
  type TokenChoice,
  type TokenLogprob,
} from "./sample.ts";
export { SamplingState } from "./state.ts";
