export {
  balanced,
  type ExpertLoads,
  type ExpertOptions,
  imbalance,
  initialPlacement,
  loadsOf,
  type UnitShape,
} from "./expert-balance.ts";
export { Router } from "./router.ts";
