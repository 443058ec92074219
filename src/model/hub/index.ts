export { CachedModel, type Environment, hubPlaces, userCaches } from "./hub-cache.ts";
export { HubError } from "./hub-files.ts";
export { type HubModel, parseHubModel } from "./hub-id.ts";
export { pullModel, type PullPlan } from "./pull.ts";
