import { MessageChannel, type MessagePort } from "node:worker_threads";
import { FrameError, type RankMessage } from "../links/index.ts";
import { type Wire, type WireRate, Wires } from "../wire/index.ts";
import type { NodeMesh } from "../membership/index.ts";
import type { RankCommand, RankEndpoint, RankReport } from "./rank-messages.ts";
import { createSharedSegments, type SegmentOptions } from "./shared-memory.ts";

export interface RouterOptions extends SegmentOptions {
  /** The links to other nodes; without one all ranks are on this node, number 0. */
  readonly mesh?: NodeMesh;
  /** An emulated wire between any two ranks of this node, which then share no memory. */
  readonly wire?: WireRate | undefined;
  /** A rank of any node is lost; called once for each. */
  readonly lost?: (rank: number, reason: string) => void;
}

/** A rank, and the node it is on. */
export interface RankNode {
  readonly rank: number;
  readonly node: number;
}

/**
 * A node's main thread between its ranks and the links to other nodes. Ranks that were started
 * together on one node speak through shared memory and pass here only the news that one of them is
 * lost.
 */
export class RankRouter {
  readonly #node: number;
  readonly #mesh: NodeMesh | undefined;
  readonly #segmentOptions: SegmentOptions;
  readonly #wires: Wires | undefined;
  /** By the ranks between which they are. */
  readonly #wireOf = new Map<string, Wire>();
  /** The node of each rank that there is or was; no number is given twice. */
  readonly #nodeOf = new Map<number, number>();
  readonly #endpoints = new Map<number, RankEndpoint>();
  readonly #ports = new Map<number, MessagePort>();
  readonly #lost = new Map<number, string>();
  readonly #onLost: (rank: number, reason: string) => void;
  #closed = false;

  constructor({ mesh, wire, lost, ...segmentOptions }: RouterOptions = {}) {
    this.#mesh = mesh;
    this.#node = mesh?.node ?? 0;
    this.#segmentOptions = segmentOptions;
    this.#wires = wire && new Wires(wire);
    this.#onLost = lost ?? (() => undefined);
  }

  /**
   * Learns where ranks are, before any of them speaks. Those of this node are started together; they
   * are returned, ascending.
   */
  add(ranks: readonly RankNode[]): number[] {
    const fresh = ranks.filter(({ rank }) => !this.#nodeOf.has(rank));
    for (const { rank, node } of fresh) this.#nodeOf.set(rank, node);
    const own = fresh.flatMap(({ rank, node }) => (node === this.#node ? [rank] : []));
    own.sort((a, b) => a - b);
    const segmentsOf = (together: readonly number[]) =>
      createSharedSegments(together, this.#segmentOptions);
    const shared = this.#wires ? undefined : segmentsOf(own);
    // All ports, so that what arrives for a thread not yet started waits in one.
    for (const rank of own) {
      const segments = shared ?? segmentsOf([rank]);
      this.#endpoints.set(rank, { rank, segments, port: this.#openPort(rank) });
    }
    for (const rank of own) for (const { rank: lost } of ranks) this.#tellIfLost(rank, lost);
    this.#mesh?.connectRanks({
      message: (node, message) => this.#receive(node, message),
      rankLost: (node, rank, reason) => this.#loseRemote(node, rank, reason),
      nodeLost: (node, reason) => this.#loseNode(node, reason),
    });
    return own;
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
    this.#wires?.close();
  }

  #openPort(rank: number): MessagePort {
    const { port1, port2 } = new MessageChannel();
    port1.on("message", (command: RankCommand) => this.#send(rank, command));
    // A thread's ports close when it ends, however it ends.
    port1.on("close", () => this.#loseOwn(rank));
    this.#ports.set(rank, port1);
    return port2;
  }

  #send(from: number, { to, channel, message }: RankCommand): void {
    const bytes = message.length;
    const node = this.#nodeOf.get(to);
    if (node === undefined || this.#lost.has(to)) return;
    if (node === this.#node) {
      const left = () => this.#report(from, { kind: "sent", to, bytes });
      const arrived = () => this.#deliver({ from, to, channel, message });
      return this.#carry(from, to, bytes, { left, arrived });
    }
    this.#mesh
      ?.send(node, { from, to, channel, message })
      .then(() => this.#report(from, { kind: "sent", to, bytes }))
      .catch((error: Error) => this.#mesh?.cut(node, error.message));
  }

  #receive(node: number, message: RankMessage): void {
    const { from, to } = message;
    if (this.#nodeOf.get(from) !== node || this.#nodeOf.get(to) !== this.#node) {
      throw new FrameError(`a message from rank ${from} to ${to} has no business on this link`);
    }
    this.#deliver(message);
  }

  /** To a rank that has ended meanwhile nothing is delivered. */
  #deliver({ from, to, channel, message }: RankMessage): void {
    this.#report(to, { kind: "message", from, channel, message }, [message.buffer as ArrayBuffer]);
  }

  /** Over the wire between two ranks of this node, if there is one. */
  #carry(from: number, to: number, bytes: number, told: Parameters<Wire["carry"]>[1]): void {
    const key = `${from} ${to}`;
    const wire = this.#wireOf.get(key) ?? this.#wires?.create();
    if (wire) {
      this.#wireOf.set(key, wire);
      return wire.carry(bytes, told);
    }
    told.arrived();
    told.left();
  }

  #loseOwn(rank: number): void {
    if (this.#closed) return;
    const reason = "its thread has ended";
    this.#ports.delete(rank);
    this.#endpoints.delete(rank);
    this.#lose(rank, reason);
    for (const node of this.#mesh?.connected ?? []) {
      this.#mesh?.tellMembership(node, { kind: "rankLost", rank, reason });
    }
  }

  #loseRemote(node: number, rank: number, reason: string): void {
    // One that was over before this node had to know where it was is no news.
    if ((this.#nodeOf.get(rank) ?? node) !== node) {
      throw new FrameError(`rank ${rank} is not its own to report lost`);
    }
    this.#lose(rank, reason);
  }

  #loseNode(node: number, reason: string): void {
    for (const [rank, on] of this.#nodeOf) {
      if (on === node) this.#lose(rank, `node ${node}: ${reason}`);
    }
  }

  #lose(rank: number, reason: string): void {
    if (this.#lost.has(rank)) return;
    this.#lost.set(rank, reason);
    for (const other of this.#ports.keys()) this.#report(other, { kind: "lost", rank, reason });
    this.#onLost(rank, reason);
  }

  #tellIfLost(rank: number, lost: number): void {
    const reason = this.#lost.get(lost);
    if (reason !== undefined) this.#report(rank, { kind: "lost", rank: lost, reason });
  }

  #report(rank: number, report: RankReport, transfer: ArrayBuffer[] = []): void {
    this.#ports.get(rank)?.postMessage(report, transfer);
  }
}
