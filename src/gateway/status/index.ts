export { type ClusterView, type UnitView, viewCluster, viewDriver } from "./cluster-view.ts";
export { ContextCacheWatch } from "./context-cache-watch.ts";
export { Latencies } from "./latencies.ts";
export { StatusFeed } from "./status-feed.ts";
export {
  type Rebalancing,
  rebalanceRequest,
  rebalancing,
  type ScaleRequest,
  scaleRequest,
  type Scaling,
  type StatusSnapshot,
  scaling,
  statusSnapshot,
} from "./status-snapshot.ts";
export { Status } from "./status.ts";
