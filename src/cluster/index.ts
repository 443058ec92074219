export { type Clock, systemClock } from "./clock.ts";
export { ControlError, type Json } from "./control.ts";
export type { Traffic } from "./counters.ts";
export { defaultFailureTimeoutMs, type NodeOptions } from "./formation.ts";
export { type ClusterIdentity, HandshakeError } from "./handshake.ts";
export { joinCluster, type JoinOptions } from "./join-cluster.ts";
export type { LinkTraffic } from "./node-link.ts";
export type { ClusterHandlers, NodeMesh } from "./node-mesh.ts";
export { openCluster, type OpenedCluster, type OpenOptions } from "./open-cluster.ts";
export type { RankEndpoint } from "./rank-messages.ts";
export { RankRouter, type RouterOptions } from "./rank-router.ts";
export { RankTransport } from "./rank-transport.ts";
export { clusterSecret, type ClusterSecret, generateSecret, readSecret } from "./secret.ts";
export {
  createSharedSegments,
  type SegmentOptions,
  SharedMemoryTransport,
  type SharedSegments,
} from "./shared-memory.ts";
export type { Address, ListenAddress } from "./tls-socket.ts";
export {
  assignRanks,
  formatTopology,
  parseTopology,
  type Topology,
  type Unit,
  type UnitRole,
} from "./topology.ts";
export { PeerLostError, type Transport, TransportClosedError } from "./transport.ts";
