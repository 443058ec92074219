export { maxOverMean } from "./balance.ts";
export {
  type ExpertPlan,
  expertPolicies,
  type ExpertPolicy,
  type ExpertTopology,
  rebalanceExperts,
} from "./experts.ts";
