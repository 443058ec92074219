export { expectMemory } from "./expect-memory.ts";
export { version } from "./fleet-identity.ts";
export { placeAgain, planFleet, type FleetPlan, type NodeOptions } from "./fleet-plan.ts";
export { Fleet } from "./fleet.ts";
export { boundHeaps } from "./heap-bounds.ts";
export { serveNode, type JoinedNodeOptions } from "./joined-node.ts";
export {
  EngineError,
  type FleetListener,
  type RankFleet,
  type RankHandle,
  type StartedUnit,
} from "./rank-handle.ts";
export { type UnitLife, type UnitState, unitStates, type WantedUnits } from "./unit-table.ts";
