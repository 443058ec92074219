export type { Traffic } from "./counters.ts";
export {
  createSharedSegments,
  type SegmentOptions,
  SharedMemoryTransport,
  type SharedSegments,
} from "./shared-memory.ts";
export { PeerLostError, type Transport, TransportClosedError } from "./transport.ts";
