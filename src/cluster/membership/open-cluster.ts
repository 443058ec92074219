import { randomUUID } from "node:crypto";
import { Formation, type FormationOptions } from "./formation.ts";
import type { FrameSocket } from "../links/index.ts";
import { type Hello, refuse, type Welcome } from "../links/index.ts";
import type { MembershipMessage } from "./membership-messages.ts";
import type { NodeMesh } from "./node-mesh.ts";
import type { Address, ListenAddress } from "../links/index.ts";

export interface OpenOptions extends FormationOptions {
  /** How many nodes the cluster will have, this one included. */
  readonly nodes: number;
  /** Where the others join; port 0 takes a free one. */
  readonly listen: ListenAddress;
}

export interface OpenedCluster {
  /** Where the other nodes are to join. */
  readonly address: Address;
  /** Resolves once all have joined and are linked; rejects when one is lost after that began. */
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

/** Numbers the nodes that join, tells each where the others are, and says when all are linked. */
class Coordinator extends Formation {
  readonly #cluster = randomUUID();
  readonly #mesh: NodeMesh;
  readonly #addresses = new Map<number, Address>();
  readonly #meshed = new Set<number>();
  #complete = false;

  constructor({ nodes, ...options }: OpenOptions) {
    super(options);
    this.#mesh = this.createMesh(0, nodes);
  }

  protected async admit(hello: Hello, socket: FrameSocket): Promise<Welcome> {
    const { nodes } = this.#mesh;
    if (hello.member) refuse(socket, "a node dials its coordinator only once");
    const node = this.#freeNumber();
    if (node === undefined) refuse(socket, `the cluster has all its ${nodes} nodes`);
    const { host, port } = hello.listen;
    this.#addresses.set(node, { host: host ?? socket.remoteAddress, port });
    return { cluster: this.#cluster, node, nodes };
  }

  protected linked(): void {
    if (this.#mesh.connected.length < this.#mesh.nodes - 1) return;
    this.#complete = true;
    const addresses = [...this.#addresses].sort(([a], [b]) => a - b).map(([, address]) => address);
    for (const node of this.#mesh.connected) {
      this.#mesh.tellMembership(node, { kind: "members", addresses });
    }
  }

  protected hear(node: number, message: MembershipMessage): void {
    if (message.kind !== "meshed") return;
    this.#meshed.add(node);
    if (this.#meshed.size < this.#mesh.nodes - 1) return;
    for (const other of this.#meshed) this.#mesh.tellMembership(other, { kind: "ready" });
    this.succeed(this.#mesh);
  }

  /** Before all have joined another node may take the place. */
  protected unlinked(node: number, reason: string): void {
    this.#addresses.delete(node);
    const message = `node ${node} was lost while the cluster formed: ${reason}`;
    if (this.#complete) this.fail(new Error(message));
    else this.options.refused?.(message);
  }

  #freeNumber(): number | undefined {
    for (let node = 1; node < this.#mesh.nodes; node++) {
      if (!this.#addresses.has(node)) return node;
    }
    return undefined;
  }
}
