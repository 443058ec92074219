import { type Clock, systemClock } from "../clock.ts";
import type { FrameSocket } from "../links/index.ts";
import {
  type ClusterIdentity,
  hearHello,
  type Hello,
  introduce,
  refuse,
  type Welcome,
  welcome,
} from "../links/index.ts";
import type { MembershipMessage } from "./membership-messages.ts";
import { type ClusterHandlers, NodeMesh } from "./node-mesh.ts";
import type { ClusterSecret } from "../links/index.ts";
import {
  type Address,
  dial,
  type ListenAddress,
  type Listener,
  listen,
  type Patience,
  withDeadline,
} from "../links/index.ts";

/** What a node brings with it, whether it opens a cluster or joins one. */
export interface FormationOptions {
  readonly secret: ClusterSecret;
  readonly identity: ClusterIdentity;
  readonly handlers?: ClusterHandlers;
  /** A connection that was refused, and why. */
  readonly refused?: (reason: string) => void;
  /** Milliseconds of silence after which a node is given up; also the time for a handshake. */
  readonly failureTimeoutMs?: number;
  /** Gives up while the cluster forms. */
  readonly signal?: AbortSignal;
  readonly clock?: Clock;
}

export const defaultFailureTimeoutMs = 5000;

/** A node's part in forming a cluster: its listener, its mesh, and the outcome. */
export abstract class Formation {
  /** Resolves once every node is linked to every other; rejects when that has become impossible. */
  readonly formed: Promise<NodeMesh>;
  protected readonly options: FormationOptions;
  protected readonly patience: Patience;
  protected mesh: NodeMesh | undefined;
  #listener: Listener | undefined;
  #over = false;
  #resolve!: (mesh: NodeMesh) => void;
  #reject!: (error: Error) => void;
  readonly #abort = () => this.fail(new Error("the cluster was given up before it had formed"));

  constructor(options: FormationOptions) {
    this.options = options;
    const { failureTimeoutMs = defaultFailureTimeoutMs, clock = systemClock } = options;
    this.patience = { milliseconds: failureTimeoutMs, clock };
    this.formed = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
    // Whoever awaits it hears of the failure; a cluster closed before it has formed fails nobody.
    this.formed.catch(() => undefined);
    options.signal?.addEventListener("abort", this.#abort, { once: true });
    if (options.signal?.aborted) this.#abort();
  }

  /** Rejects with what keeps the address from being listened at. */
  async listen(address: ListenAddress): Promise<Address> {
    const refused = this.options.refused ?? (() => undefined);
    this.#listener = await listen(address, this.options.secret, this.patience, {
      connected: (socket) => void this.#receive(socket, refused),
      refused,
    });
    if (this.#over) this.#listener.close();
    return this.#listener.address;
  }

  fail(error: Error): void {
    if (this.#over) return;
    this.#end();
    void this.mesh?.close();
    this.#reject(error);
  }

  /** What a welcome says to a node, or a refusal thrown after it was told. */
  protected abstract admit(hello: Hello, socket: FrameSocket): Promise<Welcome>;
  protected abstract hear(node: number, message: MembershipMessage): void;
  protected abstract linked(node: number): void;
  protected abstract unlinked(node: number, reason: string): void;

  protected createMesh(node: number, nodes: number): NodeMesh {
    const { milliseconds: failureTimeoutMs, clock } = this.patience;
    const { handlers = {} } = this.options;
    this.mesh = new NodeMesh(
      node,
      nodes,
      { failureTimeoutMs, clock },
      {
        ...handlers,
        lost: (lost, reason, mesh) => {
          if (this.#over) handlers.lost?.(lost, reason, mesh);
          else this.unlinked(lost, reason);
        },
      },
    );
    return this.mesh;
  }

  /** Dials a node and takes the link into the mesh that `enter` returns for the welcome. */
  protected async dial(
    address: Address,
    hello: Omit<Hello, "identity">,
    enter: (answer: Welcome) => { readonly mesh: NodeMesh; readonly node: number },
  ): Promise<void> {
    const socket = await dial(address, this.options.secret, this.patience);
    try {
      this.#checkWanted();
      const answer = await withDeadline(socket, this.patience, () =>
        introduce(socket, { identity: this.options.identity, ...hello }),
      );
      this.#checkWanted();
      const { mesh, node } = enter(answer);
      this.#link(mesh, node, socket);
    } catch (error) {
      socket.destroy(error as Error);
      throw error;
    }
  }

  protected succeed(mesh: NodeMesh): void {
    if (this.#over) return;
    this.#end();
    this.#resolve(mesh);
  }

  async #receive(socket: FrameSocket, refused: (reason: string) => void): Promise<void> {
    try {
      const answer = await withDeadline(socket, this.patience, async () =>
        this.admit(await hearHello(socket, this.options.identity), socket),
      );
      if (!this.mesh || this.#over) refuse(socket, "the cluster takes no more nodes");
      welcome(socket, answer);
      this.#link(this.mesh, answer.node, socket);
    } catch (error) {
      void socket.finish(this.patience.milliseconds);
      refused(`${socket.peer}: ${(error as Error).message}`);
    }
  }

  #link(mesh: NodeMesh, node: number, socket: FrameSocket): void {
    mesh.connect(node, socket, (message) => this.hear(node, message));
    this.linked(node);
  }

  #checkWanted(): void {
    if (this.#over) throw new Error("the cluster was given up meanwhile");
  }

  #end(): void {
    this.#over = true;
    this.#listener?.close();
    this.options.signal?.removeEventListener("abort", this.#abort);
  }
}
