export { maxOverMean } from "./balance.ts";
export { assignDecode, chooseDecodeRank, type DecodeRank } from "./decode.ts";
export {
  type ExpertPlan,
  expertPolicies,
  type ExpertPolicy,
  type ExpertTopology,
  rebalanceExperts,
} from "./experts.ts";
export {
  assignPrefill,
  choosePrefillRank,
  type PrefillCosts,
  prefillLoad,
  type PrefillLoad,
  type PrefillRequest,
} from "./prefill.ts";
