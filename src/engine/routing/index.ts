export {
  balancedInTurns,
  defaultPolicy,
  type ExpertLoads,
  type ExpertOptions,
  imbalance,
  initialPlacement,
  loadsOf,
  loadsSince,
  placingOf,
  shapeOf,
  type UnitShape,
} from "./expert-balance.ts";
export { type ExpertMove, ExpertPlacements } from "./expert-placements.ts";
export { type Aside, type BlockReading, type Route, Router, type Routing } from "./router.ts";
