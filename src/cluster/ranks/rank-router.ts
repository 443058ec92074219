import { MessageChannel, type MessagePort } from "node:worker_threads";
import type { RankMessage } from "../links/index.ts";
import { FrameError } from "../links/index.ts";
import type { NodeMesh } from "../membership/index.ts";
import type { RankCommand, RankEndpoint, RankReport } from "./rank-messages.ts";
import { createSharedSegments, type SegmentOptions, type SharedSegments } from "./shared-memory.ts";

export interface RouterOptions extends SegmentOptions {
  /** The node of each rank, as assigned by the coordinator; the same on every node. */
  readonly nodeOfRank: readonly number[];
  /** The links to other nodes; without one all ranks are on this node, number 0. */
  readonly mesh?: NodeMesh;
  /** A rank of any node is lost; called once for each. */
  readonly lost?: (rank: number, reason: string) => void;
}

/**
 * A node's main thread between its ranks and the links to other nodes. Ranks of one node speak
 * through shared memory and pass here only the news that one of them is lost.
 */
export class RankRouter {
  /** The ranks of this node, ascending. */
  readonly ranks: readonly number[];
  readonly #node: number;
  readonly #nodeOfRank: readonly number[];
  readonly #mesh: NodeMesh | undefined;
  readonly #segments: SharedSegments;
  readonly #endpoints: ReadonlyMap<number, RankEndpoint>;
  readonly #ports = new Map<number, MessagePort>();
  readonly #lost = new Map<number, string>();
  readonly #onLost: (rank: number, reason: string) => void;
  #closed = false;

  constructor({ nodeOfRank, mesh, lost, ...segmentOptions }: RouterOptions) {
    this.#mesh = mesh;
    this.#node = mesh?.node ?? 0;
    this.#nodeOfRank = nodeOfRank;
    this.#onLost = lost ?? (() => undefined);
    this.ranks = this.#ranksOf(this.#node);
    this.#segments = createSharedSegments(this.ranks, segmentOptions);
    // All ports, so that what arrives for a thread not yet started waits in one.
    this.#endpoints = new Map(this.ranks.map((rank) => [rank, this.#createEndpoint(rank)]));
    mesh?.connectRanks({
      message: (node, message) => this.#receive(node, message),
      rankLost: (node, rank, reason) => this.#loseRemote(node, rank, reason),
      nodeLost: (node, reason) => this.#loseNode(node, reason),
    });
  }

  /** For the thread of a rank of this node: workerData, with its port in the transferList. */
  endpoint(rank: number): RankEndpoint {
    const endpoint = this.#endpoints.get(rank);
    if (!endpoint) throw new RangeError(`rank ${rank} is not on node ${this.#node}`);
    return endpoint;
  }

  /** Lets the process end; ranks that go on see their ports close. */
  close(): void {
    this.#closed = true;
    for (const port of this.#ports.values()) port.close();
    this.#ports.clear();
  }

  #createEndpoint(rank: number): RankEndpoint {
    const { port1, port2 } = new MessageChannel();
    port1.on("message", (command: RankCommand) => this.#send(rank, command));
    // A thread's ports close when it ends, however it ends.
    port1.on("close", () => this.#loseOwn(rank));
    this.#ports.set(rank, port1);
    return { rank, segments: this.#segments, port: port2, ranks: this.#nodeOfRank.length };
  }

  #send(from: number, { to, channel, message }: RankCommand): void {
    const bytes = message.length;
    if (this.#lost.has(to)) return;
    this.#mesh
      ?.send(this.#nodeOfRank[to], { from, to, channel, message })
      .then(() => this.#report(from, { kind: "sent", to, bytes }))
      .catch((error: Error) => this.#mesh?.cut(this.#nodeOfRank[to], error.message));
  }

  #receive(node: number, { from, to, channel, message }: RankMessage): void {
    if (this.#nodeOfRank[from] !== node || this.#nodeOfRank[to] !== this.#node) {
      throw new FrameError(`a message from rank ${from} to ${to} has no business on this link`);
    }
    this.#report(to, { kind: "message", from, channel, message }, [message.buffer as ArrayBuffer]);
  }

  #loseOwn(rank: number): void {
    if (this.#closed) return;
    const reason = "its thread has ended";
    this.#ports.delete(rank);
    this.#lose(rank, reason);
    for (const node of this.#mesh?.connected ?? []) {
      this.#mesh?.tellMembership(node, { kind: "rankLost", rank, reason });
    }
  }

  #loseRemote(node: number, rank: number, reason: string): void {
    if (this.#nodeOfRank[rank] !== node) {
      throw new FrameError(`rank ${rank} is not its own to report lost`);
    }
    this.#lose(rank, reason);
  }

  #loseNode(node: number, reason: string): void {
    for (const rank of this.#ranksOf(node)) this.#lose(rank, `node ${node}: ${reason}`);
  }

  #lose(rank: number, reason: string): void {
    if (this.#lost.has(rank)) return;
    this.#lost.set(rank, reason);
    for (const other of this.#ports.keys()) this.#report(other, { kind: "lost", rank, reason });
    this.#onLost(rank, reason);
  }

  #report(rank: number, report: RankReport, transfer: ArrayBuffer[] = []): void {
    this.#ports.get(rank)?.postMessage(report, transfer);
  }

  #ranksOf(node: number): number[] {
    return [...this.#nodeOfRank.keys()].filter((rank) => this.#nodeOfRank[rank] === node);
  }
}
