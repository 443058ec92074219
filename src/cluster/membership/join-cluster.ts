import { Formation, type FormationOptions } from "./formation.ts";
import type { FrameSocket } from "../links/index.ts";
import { type Hello, refuse, type Welcome } from "../links/index.ts";
import type { MembershipMessage } from "./membership-messages.ts";
import type { NodeMesh } from "./node-mesh.ts";
import type { Address, ListenAddress } from "../links/index.ts";

export interface JoinOptions extends FormationOptions {
  readonly coordinator: Address;
  /** Where this node listens for its peers; by default on all addresses, on a free port. */
  readonly listen?: ListenAddress;
  /** The host its peers are to dial, if not the one the coordinator sees it come from. */
  readonly advertisedHost?: string;
}

/**
 * Joins a cluster. Resolves once every node is linked to every other; rejects with HandshakeError
 * when this node is refused, else with what went wrong.
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
class Joiner extends Formation {
  readonly #coordinator: Address;
  readonly #advertisedHost: string | null;
  readonly #welcomed: Promise<Welcome>;
  #welcome!: (answer: Welcome) => void;
  #listen: Hello["listen"] | undefined;
  #place: Welcome | undefined;

  constructor({ coordinator, advertisedHost, ...options }: JoinOptions) {
    super(options);
    this.#coordinator = coordinator;
    this.#advertisedHost = advertisedHost ?? null;
    this.#welcomed = new Promise((resolve) => (this.#welcome = resolve));
  }

  async join({ port }: Address): Promise<void> {
    this.#listen = { host: this.#advertisedHost, port };
    await this.dial(this.#coordinator, { member: null, listen: this.#listen }, (answer) => {
      this.#place = answer;
      this.#welcome(answer);
      return { mesh: this.createMesh(answer.node, answer.nodes), node: 0 };
    });
  }

  /** A peer may dial before this node has read the coordinator's welcome. */
  protected async admit({ member }: Hello, socket: FrameSocket): Promise<Welcome> {
    const { cluster, node, nodes } = await this.#welcomed;
    if (member?.cluster !== cluster) refuse(socket, "this node is not the cluster's coordinator");
    const isExpected = member.node > node && member.node < nodes;
    if (!isExpected || this.mesh?.connected.includes(member.node)) {
      refuse(socket, `node ${node} expects no connection from a node ${member.node}`);
    }
    return { cluster, node: member.node, nodes };
  }

  protected linked(): void {
    const { mesh } = this;
    if (mesh && mesh.connected.length === mesh.nodes - 1) {
      mesh.tellMembership(0, { kind: "meshed" });
    }
  }

  protected hear(node: number, message: MembershipMessage): void {
    if (node !== 0 || !this.mesh) return;
    if (message.kind === "ready") this.succeed(this.mesh);
    if (message.kind === "members") {
      this.#dialEarlier(message.addresses).catch((error: Error) => this.fail(error));
    }
  }

  protected unlinked(node: number, reason: string): void {
    this.fail(new Error(`node ${node} was lost while the cluster formed: ${reason}`));
  }

  async #dialEarlier(addresses: readonly Address[]): Promise<void> {
    const { mesh } = this;
    const place = this.#place;
    const listen = this.#listen;
    if (!mesh || !place || !listen) return;
    const member = { cluster: place.cluster, node: place.node };
    for (const [index, address] of addresses.slice(0, place.node - 1).entries()) {
      await this.dial(address, { member, listen }, () => ({ mesh, node: index + 1 }));
    }
  }
}
