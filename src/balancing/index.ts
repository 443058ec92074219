export { maxOverMean } from "./balance.ts";
export { type BlockReader, chooseBlockReader } from "./block-reader.ts";
export {
  answerEstimate,
  chooseDecodeRank,
  type DecodeRank,
  firstAnswerEstimate,
} from "./decode.ts";
export type { ExpertTopology } from "./eplb.ts";
export {
  type ExpertPlacing,
  type ExpertPlan,
  expertPolicies,
  type ExpertPolicy,
  rebalanceExperts,
} from "./experts.ts";
export {
  choosePrefillRank,
  type PrefillCosts,
  prefillLoad,
  type PrefillLoad,
  type PrefillRequest,
} from "./prefill.ts";
export {
  type BatchLoads,
  evenShares,
  rankLoads,
  type ReplicaShares,
  waterfill,
} from "./replica-shares.ts";
export { isWorthMoving, mayBeWorthMoving, newExperts, predictLoads } from "./rebalance.ts";
export {
  type Demand,
  MOST_UNITS,
  scaleFor,
  type ScaleRule,
  type ScaleState,
  type UnitCounts,
  unitsOf,
} from "./scale.ts";
export { parseScaleSchedule, type ScaleSchedule, scheduledUnits } from "./scale-schedule.ts";
export {
  decideUnits,
  type LoadDecision,
  type LoadPolicy,
  type LoadState,
  type SeenLoad,
  type UnitChange,
  type UnitKind,
} from "./load-scale.ts";
