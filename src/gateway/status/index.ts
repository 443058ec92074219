export { type ClusterView, viewCluster, viewDriver } from "./cluster-view.ts";
export { ContextCacheWatch } from "./context-cache-watch.ts";
export { StatusFeed } from "./status-feed.ts";
export { type Rebalancing, rebalancing, statusSnapshot } from "./status-snapshot.ts";
export { Status } from "./status.ts";
