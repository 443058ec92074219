import { once } from "node:events";
import { connect, createServer, type AddressInfo, type Server, type Socket } from "node:net";

const LOOPBACK = "127.0.0.1";

interface Place {
  /** One of loopback's addresses. */
  readonly host?: string;
  readonly port?: number;
}

/** A way over loopback, which a test can cut, block and slow down. */
export class Relay {
  /** Of all connections, both ends of each. */
  readonly sockets = new Set<Socket>();
  readonly #server: Server;
  readonly #target: Place;
  #state: "open" | "blocked" | "cut" = "open";
  #delayMs = 0;

  /**
   * @param target a port, or a place of another address; by default of the port at which it listens itself
   * @param host where it listens, at a free port
   */
  static async start(target: number | Place, host = LOOPBACK): Promise<Relay> {
    const relay = new Relay(typeof target === "number" ? { port: target } : target);
    relay.#server.listen(0, host);
    await once(relay.#server, "listening");
    return relay;
  }

  private constructor(target: Place) {
    this.#target = target;
    this.#server = createServer((near) => this.#join(near));
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  /** Connections end, and new ones are not taken. */
  cut(): void {
    this.#state = "cut";
    for (const socket of this.sockets) socket.destroy();
  }

  /** Nothing more passes, and nobody is told. */
  block(): void {
    this.#state = "blocked";
    for (const socket of this.sockets) socket.pause();
  }

  /** What comes is passed on so much later, in the order in which it came. */
  delay(milliseconds: number): void {
    this.#delayMs = milliseconds;
  }

  /** All passes again, and at once. */
  heal(): void {
    this.#state = "open";
    this.#delayMs = 0;
    for (const socket of this.sockets) socket.resume();
  }

  close(): void {
    this.#server.close();
    this.cut();
  }

  #join(near: Socket): void {
    if (this.#state === "cut") {
      near.destroy();
      return;
    }
    const { host = LOOPBACK, port = this.port } = this.#target;
    const far = connect(port, host);
    for (const [from, to] of [[near, far] as const, [far, near] as const]) {
      this.sockets.add(from);
      from.on("error", () => undefined);
      from.on("data", (bytes) => this.#later(() => this.#pass(bytes, from, to)));
      from.on("end", () => this.#later(() => to.end()));
      from.on("close", () => {
        this.sockets.delete(from);
        to.destroy();
      });
      if (this.#state === "blocked") from.pause();
    }
  }

  #pass(bytes: Buffer, from: Socket, to: Socket): void {
    if (to.destroyed || to.write(bytes)) return;
    from.pause();
    to.once("drain", () => this.#state === "open" && from.resume());
  }

  #later(act: () => void): void {
    if (this.#delayMs === 0) act();
    else setTimeout(act, this.#delayMs);
  }
}
