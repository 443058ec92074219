export { ControlChannel, ControlError } from "./control.ts";
export { costOfHolding, type RankMessage } from "./fragmentation.ts";
export { FrameSocket } from "./frame-socket.ts";
export { type Frame, FrameError, MAXIMUM_MESSAGE_BYTES, MAXIMUM_RANK } from "./frame.ts";
export {
  type ClusterIdentity,
  expectIdentity,
  HandshakeError,
  hearHello,
  type Hello,
  introduce,
  parseFrame,
  refuse,
  type Welcome,
  welcome,
} from "./handshake.ts";
export { type LinkOptions, type LinkTraffic, NodeLink } from "./node-link.ts";
export { type ClusterSecret, clusterSecret, generateSecret, readSecret } from "./secret.ts";
export { SpareMemory } from "./spare-memory.ts";
export {
  type Address,
  dial,
  listen,
  type ListenAddress,
  type Listener,
  type Patience,
  withDeadline,
} from "./tls-socket.ts";
