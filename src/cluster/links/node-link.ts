import type { Clock } from "../clock.ts";
import type { Traffic } from "../counters.ts";
import { controlFrames, MessageAssembler, Outbox, type RankMessage } from "./fragmentation.ts";
import {
  type Frame,
  FrameError,
  type FrameHeader,
  type FrameType,
  freshRoom,
  MAXIMUM_CONTROL_BYTES,
  nodeFrame,
} from "./frame.ts";
import type { FrameSocket } from "./frame-socket.ts";
import { jsonFrame } from "./handshake.ts";
import { SpareMemory } from "./spare-memory.ts";
import { heartbeatInterval, SilenceWatch } from "./silence-watch.ts";
import { type LinkSocket, WiredSocket } from "./wired-socket.ts";
import type { Wires } from "../wire/index.ts";

/** What a link delivers. A FrameError thrown by one of these cuts the link with it. */
export interface LinkHandlers {
  readonly message: (message: RankMessage) => void;
  /** A frame of type membership, or a whole control message as one. */
  readonly control: (frame: Frame) => void;
  /** Called once, unless the link was closed on this side. */
  readonly lost: (reason: string) => void;
}

export interface LinkOptions {
  /** Milliseconds of silence after which the peer is given up. */
  readonly failureTimeoutMs: number;
  readonly clock: Clock;
  /** Emulated ones, that frames to the peer pass. */
  readonly wires?: Wires | undefined;
  /** Of messages that have left, for those that come. */
  readonly spare: SpareMemory;
}

/** Payload of messages between ranks that passed a link. */
export interface LinkTraffic {
  readonly sent: Traffic;
  readonly received: Traffic;
}

/** The connection of two nodes: messages of all their ranks, control messages, heartbeats. */
export class NodeLink {
  readonly #socket: LinkSocket;
  readonly #handlers: LinkHandlers;
  readonly #options: LinkOptions;
  readonly #outbox = new Outbox();
  readonly #assembler: MessageAssembler;
  /** A control message goes out whole before the next: no node has two under way. */
  readonly #controls = new MessageAssembler(new SpareMemory(), 2 * MAXIMUM_CONTROL_BYTES);
  readonly #watch: SilenceWatch;
  readonly #traffic = { sent: { messages: 0, bytes: 0 }, received: { messages: 0, bytes: 0 } };
  #cancelHeartbeat: () => void;
  #congested = false;
  #ended = false;

  /** Takes over a socket after the handshake. */
  constructor(socket: FrameSocket, handlers: LinkHandlers, options: LinkOptions) {
    this.#socket = options.wires ? new WiredSocket(socket, options.wires.create()) : socket;
    this.#handlers = handlers;
    this.#options = options;
    this.#assembler = new MessageAssembler(options.spare);
    const { clock, failureTimeoutMs } = options;
    this.#watch = new SilenceWatch(clock, failureTimeoutMs, () =>
      socket.destroy(new Error(`nothing was heard from it for ${failureTimeoutMs} ms`)),
    );
    this.#cancelHeartbeat = this.#scheduleHeartbeat();
    this.#socket.listen({
      frame: (frame) => this.#receive(frame),
      room: (header) => this.#roomFor(header),
      heard: () => this.#watch.heard(),
      drained: () => this.#resume(),
      closed: (error) => this.#lose(error),
    });
  }

  /**
   * Sends a message and takes possession of its memory. Resolves when the system has taken all of it; never, if
   * the link is lost before.
   */
  async send(message: RankMessage): Promise<void> {
    await new Promise<void>((done) => {
      this.#outbox.push(message, () => {
        this.#traffic.sent.messages++;
        this.#traffic.sent.bytes += message.message.length;
        this.#options.spare.give(message.message);
        done();
      });
      this.#pump();
    });
  }

  /** Sends a body past the messages between ranks. @throws RangeError if it is too large. */
  tellControl(body: Uint8Array): void {
    for (const frame of controlFrames(body)) if (!this.#ended) this.#socket.write(frame);
  }

  /** Sends a JSON value past the messages between ranks. @throws RangeError if it is too large. */
  tell(type: FrameType, value: unknown): void {
    if (!this.#ended) this.#socket.write(jsonFrame(type, value));
  }

  traffic(): LinkTraffic {
    const { sent, received } = this.#traffic;
    return { sent: { ...sent }, received: { ...received } };
  }

  /** Gives the peer up; `lost` reports the reason. */
  cut(reason: string): void {
    this.#socket.destroy(new FrameError(reason));
  }

  /** Resolves when closed, which is once what was told so far has gone out. */
  async close(): Promise<void> {
    if (this.#ended) return;
    this.#stop();
    await this.#socket.finish(this.#options.failureTimeoutMs);
  }

  #pump(): void {
    while (!this.#congested && !this.#ended) {
      const frame = this.#outbox.next();
      if (!frame) return;
      this.#congested = !this.#socket.write(frame);
    }
  }

  #resume(): void {
    this.#congested = false;
    this.#pump();
  }

  #receive(frame: Frame): void {
    if (this.#ended || frame.type === "heartbeat") return;
    if (frame.type === "data") this.#receiveData(frame);
    else if (frame.type === "control") this.#receiveControl(frame);
    else if (frame.type === "membership") this.#handlers.control(frame);
    else throw new FrameError(`a ${frame.type} frame has no place after the handshake`);
  }

  #roomFor(header: FrameHeader): Uint8Array {
    if (header.type === "data") return this.#assembler.room(header);
    if (header.type === "control") return this.#controls.room(header);
    return freshRoom(header);
  }

  #receiveData(frame: Frame): void {
    const message = this.#assembler.add(frame);
    if (!message) return;
    this.#traffic.received.messages++;
    this.#traffic.received.bytes += message.length;
    this.#handlers.message({ from: frame.from, to: frame.to, channel: frame.channel, message });
  }

  #receiveControl(frame: Frame): void {
    const payload = this.#controls.add(frame);
    if (payload) this.#handlers.control({ ...frame, payload });
  }

  #scheduleHeartbeat(): () => void {
    const { clock, failureTimeoutMs } = this.#options;
    return clock.after(heartbeatInterval(failureTimeoutMs), () => {
      this.#socket.write(nodeFrame("heartbeat"));
      this.#cancelHeartbeat = this.#scheduleHeartbeat();
    });
  }

  #lose(error: Error): void {
    if (this.#ended) return;
    this.#stop();
    this.#handlers.lost(error.message);
  }

  #stop(): void {
    this.#ended = true;
    this.#watch.stop();
    this.#cancelHeartbeat();
  }
}
