export {
  balanced,
  type ExpertLoads,
  type ExpertOptions,
  imbalance,
  initialPlacement,
  loadsOf,
  type UnitShape,
} from "./expert-balance.ts";
export { type Route, Router } from "./router.ts";
