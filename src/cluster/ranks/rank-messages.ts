import type { MessagePort } from "node:worker_threads";
import type { SharedSegments } from "./shared-memory.ts";

/** What a rank's thread needs for its transport: workerData, with the port in its transferList. */
export interface RankEndpoint {
  readonly rank: number;
  readonly segments: SharedSegments;
  /** To the node's main thread, which owns the links to other nodes. */
  readonly port: MessagePort;
}

/** From a rank to its node's main thread: a message for a rank of another node. */
export interface RankCommand {
  readonly to: number;
  readonly channel: number;
  /** Transferred, not copied. */
  readonly message: Uint8Array;
}

/** From a node's main thread to one of its ranks. */
export type RankReport =
  | {
      readonly kind: "message";
      readonly from: number;
      readonly channel: number;
      readonly message: Uint8Array;
    }
  /** So many bytes for a rank have left this node. */
  | { readonly kind: "sent"; readonly to: number; readonly bytes: number }
  | { readonly kind: "lost"; readonly rank: number; readonly reason: string };
