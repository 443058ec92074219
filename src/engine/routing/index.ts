export { defaultPolicy, type ExpertOptions, initialPlacement, shapeOf } from "./expert-balance.ts";
export { ExpertPlacements } from "./expert-placements.ts";
export { type Aside, type Route, Router } from "./router.ts";
