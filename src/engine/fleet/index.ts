export { version } from "./fleet-identity.ts";
export { planFleet, type FleetPlan, type NodeOptions } from "./fleet-plan.ts";
export { Fleet } from "./fleet.ts";
export { serveNode, type JoinedNodeOptions } from "./joined-node.ts";
export { EngineError, type RankFleet, type RankListener } from "./rank-handle.ts";
