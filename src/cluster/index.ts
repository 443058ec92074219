export { channels, MICRO_BATCHES } from "./channels.ts";
export { afterAwake, type Clock, inTime, settleInTime, systemClock } from "./clock.ts";
export { ControlError, MAXIMUM_RANK } from "./links/index.ts";
export type { Traffic } from "./counters.ts";
export { defaultFailureTimeoutMs, Door } from "./membership/index.ts";
export { type ClusterIdentity, HandshakeError } from "./links/index.ts";
export { joinCluster, type JoinOptions } from "./membership/index.ts";
export type { LinkTraffic } from "./links/index.ts";
export type { ClusterHandlers, NodeMesh } from "./membership/index.ts";
export { openCluster, type OpenedCluster, type OpenOptions } from "./membership/index.ts";
export type { RankEndpoint } from "./ranks/index.ts";
export { type RankNode, RankRouter, type RouterOptions } from "./ranks/index.ts";
export { RankTransport } from "./ranks/index.ts";
export { clusterSecret, type ClusterSecret, generateSecret, readSecret } from "./links/index.ts";
export {
  createSharedSegments,
  type SegmentOptions,
  SharedMemoryTransport,
  type SharedSegments,
} from "./ranks/index.ts";
export type { Address, ListenAddress } from "./links/index.ts";
export {
  assignRanks,
  defaultTopology,
  formatTopology,
  parseTopology,
  spreadRanks,
  type Topology,
  type Unit,
  type UnitRole,
} from "./topology.ts";
export { parseBody } from "./parse-body.ts";
export { parseWire, type WireRate } from "./wire/index.ts";
export { PeerLostError, type Transport, TransportClosedError } from "./ranks/index.ts";
