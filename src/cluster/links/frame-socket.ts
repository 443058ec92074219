import type { TLSSocket } from "node:tls";
import {
  encodeHeader,
  type Frame,
  FrameDecoder,
  FrameError,
  freshRoom,
  type OutgoingFrame,
  type RoomFor,
} from "./frame.ts";
import { countGarbage } from "./young-garbage.ts";

export interface FrameHandlers {
  /** A FrameError thrown here closes the socket with it. */
  readonly frame: (frame: Frame) => void;
  /** Where the payload of a frame is put that begins to come. */
  readonly room: RoomFor;
  /** Any bytes have come: the peer is alive. */
  readonly heard: () => void;
  /** The socket takes frames again after `write` returned false. */
  readonly drained: () => void;
  /** Called once, with what ended the connection. */
  readonly closed: (error: Error) => void;
}

/** Bytes that may wait for the system to take them before a writer has to. */
const ROOM_BYTES = 256 * 1024;

/** Frames over an encrypted connection. Reads nothing ahead of who asks for it. */
export class FrameSocket {
  /** Address of the peer, for messages. */
  readonly peer: string;
  readonly #socket: TLSSocket;
  readonly #decoder = new FrameDecoder((header) => (this.#handlers?.room ?? freshRoom)(header));
  readonly #frames: Frame[] = [];
  #handlers: FrameHandlers | undefined;
  #reader: { resolve: (frame: Frame) => void; reject: (error: Error) => void } | undefined;
  #ended: Error | undefined;

  constructor(socket: TLSSocket) {
    this.#socket = socket;
    this.peer = `${socket.remoteAddress}:${socket.remotePort}`;
    socket.setNoDelay(true);
    socket.on("data", (chunk: Buffer) => this.#receive(chunk));
    socket.on("drain", () => this.#handlers?.drained());
    // Node leaves a socket open after a broken TLS record.
    socket.on("error", (error) => this.destroy(error));
    socket.on("close", () => this.#end(new Error("the connection was closed")));
    socket.pause();
  }

  get remoteAddress(): string {
    return this.#socket.remoteAddress ?? "";
  }

  /** The next frame; rejects with what ended the connection. For conversations before `listen`. */
  async read(): Promise<Frame> {
    const frame = this.#frames.shift();
    if (frame) return frame;
    if (this.#ended) throw this.#ended;
    this.#socket.resume();
    return new Promise((resolve, reject) => (this.#reader = { resolve, reject }));
  }

  /** From now on everything goes to the handlers, but nothing before the caller has returned. */
  listen(handlers: FrameHandlers): void {
    this.#handlers = handlers;
    queueMicrotask(() => {
      this.#deliver(this.#frames.splice(0));
      if (!this.#ended) this.#socket.resume();
    });
    if (this.#ended) queueMicrotask(() => handlers.closed(this.#ended ?? new Error()));
  }

  /** False when the caller should wait for `drained`. */
  write(frame: OutgoingFrame): boolean {
    this.#socket.cork();
    this.#socket.write(encodeHeader(frame));
    this.#socket.write(frame.payload, (error) => {
      if (!error) frame.written?.();
    });
    this.#socket.uncork();
    return this.#socket.writableLength < ROOM_BYTES;
  }

  /** Resolves when closed: after what was written is sent, at the latest after some milliseconds. */
  async finish(milliseconds: number): Promise<void> {
    if (this.#socket.closed) return;
    const timer = setTimeout(() => this.#socket.destroy(), milliseconds);
    const closed = new Promise<void>((resolve) => this.#socket.once("close", () => resolve()));
    this.#socket.destroySoon();
    await closed;
    clearTimeout(timer);
  }

  /** Closes at once; `error` is what `closed` reports. */
  destroy(error: Error): void {
    this.#end(error);
    this.#socket.destroy();
  }

  #receive(chunk: Buffer): void {
    this.#handlers?.heard();
    this.#deliver(this.#decoder.decode(chunk));
    countGarbage(chunk.length);
    if (!this.#handlers && !this.#reader) this.#socket.pause();
  }

  #deliver(frames: Iterable<Frame>): void {
    try {
      for (const frame of frames) {
        if (this.#ended) return;
        this.#take(frame);
      }
    } catch (error) {
      if (!(error instanceof FrameError)) throw error;
      this.destroy(error);
    }
  }

  #take(frame: Frame): void {
    if (this.#handlers) this.#handlers.frame(frame);
    else if (this.#reader) {
      this.#reader.resolve(frame);
      this.#reader = undefined;
    } else this.#frames.push(frame);
  }

  #end(error: Error): void {
    if (this.#ended) return;
    this.#ended = error;
    this.#reader?.reject(error);
    this.#handlers?.closed(error);
  }
}
