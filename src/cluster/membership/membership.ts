import { type Clock, systemClock } from "../clock.ts";
import {
  type Address,
  type ClusterIdentity,
  type ClusterSecret,
  dial,
  expectIdentity,
  type FrameSocket,
  hearHello,
  type Hello,
  introduce,
  listen,
  type ListenAddress,
  type Listener,
  type Patience,
  SpareMemory,
  type Welcome,
  welcome,
  withDeadline,
} from "../links/index.ts";
import { Wires, type WireRate } from "../wire/index.ts";
import { Door } from "./door.ts";
import type { MembershipMessage } from "./membership-messages.ts";
import { type ClusterHandlers, NodeMesh } from "./node-mesh.ts";

/** What a node brings with it, whether it opens a cluster or joins one. */
export interface MembershipOptions {
  readonly secret: ClusterSecret;
  readonly identity: ClusterIdentity;
  /** What the cluster computes for, where several have a port in common. */
  readonly model?: string;
  readonly handlers?: ClusterHandlers;
  /** A connection that was refused, and why. */
  readonly refused?: (reason: string) => void;
  /** Milliseconds of silence after which a node is given up; also the time for a handshake. */
  readonly failureTimeoutMs?: number;
  /** Gives up while the cluster forms. */
  readonly signal?: AbortSignal;
  readonly clock?: Clock;
  /** Emulated: what this node sends to others passes it. */
  readonly wire?: WireRate | undefined;
}

export const defaultFailureTimeoutMs = 5000;

/**
 * A node's part in a cluster: its mesh, and its listener, which takes links of nodes that come late or
 * again as long as the mesh is open.
 */
export abstract class Membership {
  /** Resolves once the node is part of the cluster; rejects when that has become impossible. */
  readonly formed: Promise<NodeMesh>;
  protected readonly options: MembershipOptions;
  protected readonly patience: Patience;
  protected mesh: NodeMesh | undefined;
  /** Takes no new connections from then on. */
  #stopListening: () => void = () => undefined;
  #state: "forming" | "formed" | "over" = "forming";
  #resolve!: (mesh: NodeMesh) => void;
  #reject!: (error: Error) => void;
  readonly #abort = () => this.fail(new Error("the cluster was given up before it had formed"));

  constructor(options: MembershipOptions) {
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
  async listen(at: ListenAddress | Door): Promise<Address> {
    const address = at instanceof Door ? this.#enter(at) : await this.#open(at);
    if (this.isOver) this.#stopListening();
    return address;
  }

  #enter(door: Door): Address {
    const { model = "" } = this.options;
    this.#stopListening = door.enter(model, (socket, hello) => void this.#receive(socket, hello));
    return door.address;
  }

  async #open(address: ListenAddress): Promise<Address> {
    const listener: Listener = await listen(address, this.options.secret, this.patience, {
      connected: (socket) => void this.#receive(socket),
      refused: (reason) => this.options.refused?.(reason),
    });
    this.#stopListening = () => listener.close();
    return listener.address;
  }

  /** Ends what has not formed; a mesh that has is closed by itself. */
  fail(error: Error): void {
    if (this.#state !== "forming") return;
    this.#reject(error);
    this.#end();
    void this.mesh?.close();
  }

  /** What a welcome says to a node, or a refusal thrown after it was told. */
  protected abstract admit(hello: Hello, socket: FrameSocket): Promise<Welcome>;
  protected abstract hear(node: number, message: MembershipMessage): void;
  protected abstract unlinked(node: number, reason: string): void;

  /** There is a link to a node, which may be still joining. */
  protected linked(_node: number): void {
    return;
  }

  protected get isOver(): boolean {
    return this.#state === "over";
  }

  protected createMesh(node: number): NodeMesh {
    const { milliseconds: failureTimeoutMs, clock } = this.patience;
    const { wire } = this.options;
    const wires = wire && new Wires(wire);
    this.mesh = new NodeMesh(
      node,
      { failureTimeoutMs, clock, wires, spare: new SpareMemory() },
      {
        ...this.options.handlers,
        lost: (lost, reason) => this.unlinked(lost, reason),
        closing: () => this.#end(),
      },
    );
    return this.mesh;
  }

  /** Dials a node and takes the link into the mesh that `enter` returns for the welcome. */
  protected async dial(
    address: Address,
    hello: Omit<Hello, "identity" | "model">,
    enter: (answer: Welcome) => { readonly mesh: NodeMesh; readonly node: number },
  ): Promise<void> {
    const { identity, model, secret } = this.options;
    const socket = await dial(address, secret, this.patience);
    try {
      this.#checkWanted();
      const answer = await withDeadline(socket, this.patience, () =>
        introduce(socket, { identity, ...(model !== undefined && { model }), ...hello }),
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
    if (this.#state !== "forming") return;
    this.#state = "formed";
    this.options.signal?.removeEventListener("abort", this.#abort);
    this.#resolve(mesh);
  }

  /** `heard`: the first words, where somebody has heard them already. */
  async #receive(socket: FrameSocket, heard?: Hello): Promise<void> {
    try {
      const answer = await withDeadline(socket, this.patience, async () => {
        const hello = heard ?? (await hearHello(socket));
        expectIdentity(socket, this.options.identity, hello.identity);
        return this.admit(hello, socket);
      });
      this.#checkWanted();
      welcome(socket, answer);
      this.#link(this.mesh as NodeMesh, answer.node, socket);
    } catch (error) {
      void socket.finish(this.patience.milliseconds);
      this.options.refused?.(`${socket.peer}: ${(error as Error).message}`);
    }
  }

  #link(mesh: NodeMesh, node: number, socket: FrameSocket): void {
    mesh.connect(node, socket, (message) => this.hear(node, message));
    this.linked(node);
  }

  #checkWanted(): void {
    if (this.isOver) throw new Error("the cluster was closed meanwhile");
  }

  #end(): void {
    if (this.isOver) return;
    const forming = this.#state === "forming";
    this.#state = "over";
    this.#stopListening();
    this.options.signal?.removeEventListener("abort", this.#abort);
    if (forming) this.#reject(new Error("the cluster was closed before it had formed"));
  }
}
