import type { Socket } from "node:net";

/**
 * Connections that have not yet shown that they know the secret. Beyond `limit` of them one is closed:
 * of the address that has most, the oldest that has said nothing, or the oldest. So nobody's flood
 * closes another's connections, and half-open ones go before those of a node that is just joining.
 */
export class PendingHandshakes {
  readonly #limit: number;
  /** By address and port, oldest first. */
  readonly #sockets = new Map<string, Socket>();

  constructor(limit: number) {
    this.#limit = limit;
  }

  get size(): number {
    return this.#sockets.size;
  }

  add(socket: Socket): void {
    const name = nameOf(socket);
    this.#sockets.set(name, socket);
    socket.once("close", () => {
      if (this.#sockets.get(name) === socket) this.#sockets.delete(name);
    });
    if (this.#sockets.size > this.#limit) this.#closeOne();
  }

  /** It knows the secret: what it may hold is bounded otherwise. */
  remove(socket: Socket): void {
    this.#sockets.delete(nameOf(socket));
  }

  #closeOne(): void {
    const byAddress = new Map<string, Socket[]>();
    for (const socket of this.#sockets.values()) {
      const { remoteAddress = "" } = socket;
      byAddress.set(remoteAddress, [...(byAddress.get(remoteAddress) ?? []), socket]);
    }
    const [most] = [...byAddress.values()].sort((a, b) => b.length - a.length);
    const chosen = most.find(({ bytesRead }) => bytesRead === 0) ?? most[0];
    this.#sockets.delete(nameOf(chosen));
    chosen.destroy();
  }
}

const nameOf = ({ remoteAddress, remotePort }: Socket) => `${remoteAddress}:${remotePort}`;
