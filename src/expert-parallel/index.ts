export { dispatchedRows, type DispatchedRows } from "./dispatched-rows.ts";
export { dispatchLayout, type DispatchLayout } from "./layout.ts";
export {
  layerPlacement,
  orderedPlacement,
  PlacementError,
  type LayerPlacement,
} from "./placement.ts";
export { createSharedExchange, ParallelExperts, type SharedExchange } from "./parallel-experts.ts";
export type { TrafficCounts } from "./traffic.ts";
export { MessageExchange, MOST_PARTS } from "./message-exchange.ts";
export type { RowExchange, UnitExperts } from "./row-exchange.ts";
export { StreamExchange } from "./stream-exchange.ts";
export { Traffic } from "./traffic.ts";
