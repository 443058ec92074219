export type { Traffic } from "./counters.ts";
export {
  createSharedSegments,
  type SegmentOptions,
  SharedMemoryTransport,
  type SharedSegments,
} from "./shared-memory.ts";
export {
  assignRanks,
  formatTopology,
  parseTopology,
  type Topology,
  type Unit,
  type UnitRole,
} from "./topology.ts";
export { PeerLostError, type Transport, TransportClosedError } from "./transport.ts";
