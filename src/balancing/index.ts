export { maxOverMean } from "./balance.ts";
export {
  answerEstimate,
  chooseDecodeRank,
  type DecodeRank,
  firstAnswerEstimate,
} from "./decode.ts";
export {
  type ExpertPlan,
  expertPolicies,
  type ExpertPolicy,
  type ExpertTopology,
  rebalanceExperts,
} from "./experts.ts";
export {
  choosePrefillRank,
  type PrefillCosts,
  prefillLoad,
  type PrefillLoad,
  type PrefillRequest,
} from "./prefill.ts";
