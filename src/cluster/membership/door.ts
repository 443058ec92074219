import {
  type Address,
  type ClusterSecret,
  type FrameSocket,
  hearHello,
  type Hello,
  listen,
  type ListenAddress,
  type Listener,
  type Patience,
  refuse,
  withDeadline,
} from "../links/index.ts";

/** Takes over a connection whose first words were heard. */
type Host = (socket: FrameSocket, hello: Hello) => void;

export interface DoorOptions {
  readonly listen: ListenAddress;
  readonly secret: ClusterSecret;
  readonly patience: Patience;
  /** Whose clusters are there, or will be. */
  readonly models: readonly string[];
  /** A connection that was refused, and why. */
  readonly refused: (reason: string) => void;
}

/** A port that the clusters of several models have in common: who connects says which of them it means. */
export class Door {
  readonly #options: DoorOptions;
  readonly #hosts = new Map<string, Host>();
  #listener!: Listener;

  /** Rejects with what keeps the address from being listened at. */
  static async open(options: DoorOptions): Promise<Door> {
    const door = new Door(options);
    const { listen: address, secret, patience, refused } = options;
    door.#listener = await listen(address, secret, patience, {
      connected: (socket) => void door.#receive(socket),
      refused,
    });
    return door;
  }

  private constructor(options: DoorOptions) {
    this.#options = options;
  }

  get address(): Address {
    return this.#listener.address;
  }

  /** From now on this model's connections go to its host. Returns what ends that. */
  enter(model: string, host: Host): () => void {
    this.#hosts.set(model, host);
    return () => {
      if (this.#hosts.get(model) === host) this.#hosts.delete(model);
    };
  }

  close(): void {
    this.#listener.close();
  }

  async #receive(socket: FrameSocket): Promise<void> {
    const { patience, refused } = this.#options;
    try {
      const hello = await withDeadline(socket, patience, () => hearHello(socket));
      this.#hostOf(socket, hello)(socket, hello);
    } catch (error) {
      void socket.finish(patience.milliseconds);
      refused(`${socket.peer}: ${(error as Error).message}`);
    }
  }

  /** @throws HandshakeError after it was told that there is no such model; Error where it may come yet */
  #hostOf(socket: FrameSocket, { model }: Hello): Host {
    const { models } = this.#options;
    if (model === undefined || !models.includes(model)) {
      const theirs = model === undefined ? "names none" : `has ${model}`;
      refuse(socket, `model: the cluster has ${models.join(", ")}, the joining node ${theirs}`);
    }
    const host = this.#hosts.get(model);
    if (!host) throw new Error(`the cluster of ${model} is not there yet, or no more`);
    return host;
  }
}
