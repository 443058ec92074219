import { setTimeout } from "node:timers/promises";
import type { Wire } from "../wire/index.ts";
import { encodeHeader, type OutgoingFrame } from "./frame.ts";
import type { FrameHandlers, FrameSocket } from "./frame-socket.ts";

/** What a link needs of the connection it has taken over. */
export type LinkSocket = Pick<FrameSocket, "listen" | "write" | "finish" | "destroy">;

/** Bytes that may wait for the wire before a writer has to. */
const ROOM_BYTES = 256 * 1024;

/** A socket whose frames pass an emulated wire first. What comes in has passed the other side's. */
export class WiredSocket implements LinkSocket {
  readonly #socket: FrameSocket;
  readonly #wire: Wire;
  #waiting = 0;
  #isFull = false;
  #drained: () => void = () => undefined;

  constructor(socket: FrameSocket, wire: Wire) {
    this.#socket = socket;
    this.#wire = wire;
  }

  listen(handlers: FrameHandlers): void {
    this.#drained = handlers.drained;
    // The wire is slower than the socket, or as fast as if there were none.
    this.#socket.listen({ ...handlers, drained: () => undefined });
  }

  write(frame: OutgoingFrame): boolean {
    const bytes = encodeHeader(frame).length + frame.payload.length;
    this.#waiting += bytes;
    this.#wire.carry(bytes, {
      left: () => this.#leave(bytes),
      arrived: () => void this.#socket.write(frame),
    });
    this.#isFull ||= this.#waiting >= ROOM_BYTES;
    return !this.#isFull;
  }

  /** What has not arrived after so many milliseconds is lost. */
  async finish(milliseconds: number): Promise<void> {
    const arrived = new Promise<void>((resolve) =>
      this.#wire.carry(0, { left: () => undefined, arrived: resolve }),
    );
    await Promise.race([arrived, setTimeout(milliseconds, undefined, { ref: false })]);
    await this.#socket.finish(milliseconds);
  }

  destroy(error: Error): void {
    this.#socket.destroy(error);
  }

  #leave(bytes: number): void {
    this.#waiting -= bytes;
    if (!this.#isFull || this.#waiting >= ROOM_BYTES) return;
    this.#isFull = false;
    this.#drained();
  }
}
