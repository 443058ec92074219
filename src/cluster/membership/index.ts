export { Door } from "./door.ts";
export { defaultFailureTimeoutMs } from "./membership.ts";
export { joinCluster, type JoinOptions } from "./join-cluster.ts";
export { type ClusterHandlers, NodeMesh } from "./node-mesh.ts";
export { openCluster, type OpenedCluster, type OpenOptions } from "./open-cluster.ts";
