import {
  ControlChannel,
  ControlError,
  costOfHolding,
  type Frame,
  FrameError,
  type FrameSocket,
  type LinkOptions,
  type LinkTraffic,
  NodeLink,
  type RankMessage,
} from "../links/index.ts";
import { type MembershipMessage, parseMembership } from "./membership-messages.ts";

/** What a node hears from the others. `from` and `node` are node numbers. */
export interface ClusterHandlers {
  /** To the coordinator: a node is linked to all others. */
  readonly joined?: (node: number, mesh: NodeMesh) => void;
  /** An error thrown here cuts the link to the node. */
  readonly told?: (body: unknown, from: number, mesh: NodeMesh) => void;
  /** A rejection is passed on to whoever asked, by its message. */
  readonly asked?: (body: unknown, from: number, mesh: NodeMesh) => Promise<unknown>;
  /** A node is dead, frozen, silent or cut off, or has broken the protocol; its link is closed. */
  readonly lost?: (node: number, reason: string, mesh: NodeMesh) => void;
}

export interface MeshHandlers extends Omit<ClusterHandlers, "joined"> {
  /** The node leaves the cluster. */
  readonly closing: () => void;
}

/** Who takes what concerns ranks. A FrameError thrown here cuts the link. */
export interface RankHandlers {
  readonly message: (node: number, message: RankMessage) => void;
  readonly rankLost: (node: number, rank: number, reason: string) => void;
  readonly nodeLost: (node: number, reason: string) => void;
}

interface Peer {
  readonly link: NodeLink;
  readonly control: ControlChannel;
}

/** What arrived for ranks before there were any to take it. */
const MAXIMUM_HELD_BYTES = 64 * 1024 * 1024;

/** A node's links to all other nodes of the cluster. */
export class NodeMesh {
  /** Own number; the coordinator is 0. No other life of any node has it. */
  readonly node: number;
  readonly #options: LinkOptions;
  readonly #handlers: MeshHandlers;
  readonly #peers = new Map<number, Peer>();
  readonly #lost = new Map<number, string>();
  #ranks: RankHandlers | undefined;
  #held: (() => void)[] = [];
  #heldBytes = 0;

  constructor(node: number, options: LinkOptions, handlers: MeshHandlers) {
    this.node = node;
    this.#options = options;
    this.#handlers = handlers;
  }

  /** Takes over a socket after the handshake; membership messages go to whoever forms the mesh. */
  connect(
    node: number,
    socket: FrameSocket,
    membership: (message: MembershipMessage) => void,
  ): void {
    const { told, asked } = this.#handlers;
    const link = new NodeLink(
      socket,
      {
        message: (message) => this.#receive(node, message),
        control: (frame) => this.#hear(node, frame, membership),
        lost: (reason) => this.#lose(node, reason),
      },
      this.#options,
    );
    const control = new ControlChannel(link, {
      told: (body) => told?.(body, node, this),
      asked: async (body) => {
        if (asked) return asked(body, node, this);
        throw new ControlError(`node ${this.node} answers no questions`);
      },
    });
    this.#peers.set(node, { link, control });
  }

  /** Numbers of the nodes there is a link to. */
  get connected(): readonly number[] {
    return [...this.#peers.keys()];
  }

  /** Sends an event. @throws RangeError for a body over 64 MiB, ControlError if the node is lost. */
  tell(node: number, body: unknown): void {
    this.#peer(node).control.tell(body);
  }

  /** Asks a question. Rejects with ControlError when the node fails to answer or is lost. */
  async ask(node: number, body: unknown): Promise<unknown> {
    return this.#peer(node).control.ask(body);
  }

  /** Resolves when the message, which must not change any more, is on its way. */
  async send(node: number, message: RankMessage): Promise<void> {
    return this.#peer(node).link.send(message);
  }

  tellMembership(node: number, message: MembershipMessage): void {
    this.#peers.get(node)?.link.tell("membership", message);
  }

  /** Hands over what has come for this node's ranks, and all that will. */
  connectRanks(ranks: RankHandlers): void {
    this.#ranks = ranks;
    for (const deliver of this.#held.splice(0)) deliver();
    for (const [node, reason] of this.#lost) ranks.nodeLost(node, reason);
  }

  /** Gives a node up. */
  cut(node: number, reason: string): void {
    this.#peers.get(node)?.link.cut(reason);
  }

  /** Payload of messages between ranks that passed each link, by node. */
  counters(): ReadonlyMap<number, LinkTraffic> {
    return new Map([...this.#peers].map(([node, { link }]) => [node, link.traffic()]));
  }

  /** Leaves the cluster; the other nodes see their links to this one closed. */
  async close(): Promise<void> {
    this.#handlers.closing();
    const peers = [...this.#peers];
    this.#peers.clear();
    const closed = peers.map(([, { link }]) => link.close());
    for (const [node, { control }] of peers) control.end(`the link to node ${node} is closed`);
    await Promise.all(closed);
    this.#options.wires?.close();
  }

  #peer(node: number): Peer {
    const peer = this.#peers.get(node);
    if (peer) return peer;
    throw new ControlError(`node ${node} is lost: ${this.#lost.get(node) ?? "there is no link"}`);
  }

  #receive(node: number, message: RankMessage): void {
    if (this.#ranks) return this.#ranks.message(node, message);
    this.#hold(message.message.length, () => this.#ranks?.message(node, message));
  }

  #hold(bytes: number, deliver: () => void): void {
    this.#heldBytes += costOfHolding(bytes);
    if (this.#heldBytes > MAXIMUM_HELD_BYTES) {
      throw new FrameError(`over ${MAXIMUM_HELD_BYTES} bytes came for ranks not yet started`);
    }
    this.#held.push(deliver);
  }

  #hear(node: number, frame: Frame, membership: (message: MembershipMessage) => void): void {
    if (frame.type === "control") return this.#peer(node).control.receive(frame);
    const message = parseMembership(frame);
    if (message.kind !== "rankLost") return membership(message);
    const { rank, reason } = message;
    if (this.#ranks) this.#ranks.rankLost(node, rank, reason);
    else this.#hold(2 * reason.length, () => this.#ranks?.rankLost(node, rank, reason));
  }

  #lose(node: number, reason: string): void {
    const peer = this.#peers.get(node);
    this.#peers.delete(node);
    this.#lost.set(node, reason);
    peer?.control.end(`node ${node} is lost: ${reason}`);
    this.#ranks?.nodeLost(node, reason);
    this.#handlers.lost?.(node, reason, this);
  }
}
