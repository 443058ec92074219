export type { RankEndpoint } from "./rank-messages.ts";
export { type RankNode, RankRouter, type RouterOptions } from "./rank-router.ts";
export { RankTransport } from "./rank-transport.ts";
export {
  createSharedSegments,
  type SegmentOptions,
  SharedMemoryTransport,
  type SharedSegments,
} from "./shared-memory.ts";
export { PeerLostError, type Transport, TransportClosedError } from "./transport.ts";
