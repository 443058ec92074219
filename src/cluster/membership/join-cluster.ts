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

export interface JoinOptions extends MembershipOptions {
  readonly coordinator: Address;
  /** Where this node listens for its peers; by default on all addresses, on a free port. */
  readonly listen?: ListenAddress | Door;
  /** The host its peers are to dial, if not the one the coordinator sees it come from. */
  readonly advertisedHost?: string;
}

/**
 * Joins a cluster, which may have begun long ago. Resolves once this node is linked to every other;
 * rejects with HandshakeError when the coordinator refuses it, else with what went wrong, which may go
 * better the next time.
 */
export async function joinCluster(options: JoinOptions): Promise<NodeMesh> {
  const joiner = new Joiner(options);
  try {
    await joiner.join(await joiner.listen(options.listen ?? { port: 0 }));
  } catch (error) {
    joiner.fail(error as Error);
  }
  return joiner.formed;
}

/** Gets its number from the coordinator, dials the nodes before it, and awaits those after. */
class Joiner extends Membership {
  readonly #coordinator: Address;
  readonly #advertisedHost: string | null;
  readonly #welcomed: Promise<Welcome>;
  #welcome!: (answer: Welcome) => void;
  #listen: Hello["listen"] | undefined;
  #cluster: string | undefined;

  constructor({ coordinator, advertisedHost, ...options }: JoinOptions) {
    super(options);
    this.#coordinator = coordinator;
    this.#advertisedHost = advertisedHost ?? null;
    this.#welcomed = new Promise((resolve) => (this.#welcome = resolve));
  }

  async join({ port }: Address): Promise<void> {
    this.#listen = { host: this.#advertisedHost, port };
    await this.dial(this.#coordinator, { member: null, listen: this.#listen }, (answer) => {
      this.#cluster = answer.cluster;
      this.#welcome(answer);
      return { mesh: this.createMesh(answer.node), node: 0 };
    });
  }

  /** A peer may dial before this node has read the coordinator's welcome. */
  protected async admit({ member }: Hello, socket: FrameSocket): Promise<Welcome> {
    const { cluster, node } = await this.#welcomed;
    if (member?.cluster !== cluster) refuse(socket, "this node is not the cluster's coordinator");
    if (member.node <= node || this.mesh?.connected.includes(member.node)) {
      refuse(socket, `node ${node} expects no connection from a node ${member.node}`);
    }
    return { cluster, node: member.node };
  }

  protected hear(node: number, message: MembershipMessage): void {
    const { mesh } = this;
    if (node !== 0 || !mesh || message.kind !== "members") return;
    this.#dialEarlier(mesh, message.members).catch((error: Error) => {
      // Whoever refuses this node here is no judge of it.
      this.fail(new Error(`a node that joined before: ${error.message}`, { cause: error }));
    });
  }

  protected unlinked(node: number, reason: string): void {
    if (node === 0) this.fail(new Error(`node 0 was lost while this one joined: ${reason}`));
    if (this.mesh) this.options.handlers?.lost?.(node, reason, this.mesh);
  }

  async #dialEarlier(mesh: NodeMesh, members: Members): Promise<void> {
    const { node } = mesh;
    const listen = this.#listen as Hello["listen"];
    const member = { cluster: this.#cluster as string, node };
    for (const { node: earlier, address } of members) {
      await this.dial(address, { member, listen }, () => ({ mesh, node: earlier }));
    }
    mesh.tellMembership(0, { kind: "meshed" });
    this.succeed(mesh);
  }
}

type Members = Extract<MembershipMessage, { readonly kind: "members" }>["members"];
