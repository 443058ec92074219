import { randomUUID } from "node:crypto";
import {
  type Address,
  type FrameSocket,
  type Hello,
  type ListenAddress,
  refuse,
  type Welcome,
} from "../links/index.ts";
import type { Door } from "./door.ts";
import { Membership, type MembershipOptions } from "./membership.ts";
import type { MembershipMessage } from "./membership-messages.ts";
import type { NodeMesh } from "./node-mesh.ts";

export interface OpenOptions extends MembershipOptions {
  /** How many nodes it takes, this one included, to begin. */
  readonly nodes: number;
  /** Where the others join; port 0 takes a free one. */
  readonly listen: ListenAddress | Door;
}

export interface OpenedCluster {
  /** Where other nodes are to join, as long as the mesh is open. */
  readonly address: Address;
  /** Resolves once so many nodes have joined and are linked. */
  readonly formed: Promise<NodeMesh>;
  /** Gives up waiting; a mesh already formed is closed by itself. */
  close(): void;
}

/** Starts a cluster as its coordinator, node 0. Rejects if the address cannot be listened at. */
export async function openCluster(options: OpenOptions): Promise<OpenedCluster> {
  if (!Number.isInteger(options.nodes) || options.nodes < 2) {
    throw new RangeError(`nodes: expected at least 2, got ${options.nodes}`);
  }
  const coordinator = new Coordinator(options);
  const address = await coordinator.listen(options.listen);
  return {
    address,
    formed: coordinator.formed,
    close: () => coordinator.fail(new Error("the cluster was closed before it had formed")),
  };
}

/** Numbers the nodes that join, at any time, and tells each where those before it are. */
class Coordinator extends Membership {
  readonly #cluster = randomUUID();
  readonly #mesh: NodeMesh;
  readonly #nodes: number;
  /** Of the nodes that live. */
  readonly #addresses = new Map<number, Address>();
  readonly #joined = new Set<number>();
  /** Ascending: a number is never given twice, so that nothing of an earlier life is taken for a later one's. */
  #nextNumber = 1;

  constructor({ nodes, ...options }: OpenOptions) {
    super(options);
    this.#nodes = nodes;
    this.#mesh = this.createMesh(0);
  }

  protected async admit(hello: Hello, socket: FrameSocket): Promise<Welcome> {
    if (hello.member) refuse(socket, "a node dials its coordinator only once");
    const node = this.#nextNumber++;
    const { host, port } = hello.listen;
    this.#addresses.set(node, { host: host ?? socket.remoteAddress, port });
    return { cluster: this.#cluster, node };
  }

  protected override linked(node: number): void {
    const members = [...this.#addresses].flatMap(([member, address]) =>
      member < node ? [{ node: member, address }] : [],
    );
    this.#mesh.tellMembership(node, { kind: "members", members });
  }

  protected hear(node: number, message: MembershipMessage): void {
    if (message.kind !== "meshed" || this.#joined.has(node)) return;
    this.#joined.add(node);
    this.options.handlers?.joined?.(node, this.#mesh);
    if (this.#joined.size >= this.#nodes - 1) this.succeed(this.#mesh);
  }

  protected unlinked(node: number, reason: string): void {
    this.#addresses.delete(node);
    if (this.#joined.delete(node)) this.options.handlers?.lost?.(node, reason, this.#mesh);
    else this.options.refused?.(`node ${node} was lost while it joined: ${reason}`);
  }
}
