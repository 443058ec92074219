import { checkChannel, type PeerLostError, TransportClosedError } from "./transport.ts";

interface Reader {
  readonly resolve: (message: Uint8Array) => void;
  readonly reject: (error: Error) => void;
}

/** What came from one rank on one channel, and who waits for it; one of the two is empty. */
interface Box {
  readonly from: number;
  readonly channel: number;
  readonly messages: Uint8Array[];
  readonly readers: Reader[];
}

/**
 * Received messages, sorted by sender and channel. Everything is taken off the wire as soon as it
 * is there, so that a reader who is late on one channel holds up no other.
 */
export class Mailbox {
  readonly #boxes = new Map<number, Box>();
  /** Messages nobody has read yet, by channel. */
  readonly #unread = new Map<number, number>();
  readonly #arrivals = new Map<number, Set<() => void>>();
  readonly #lost = new Map<number, PeerLostError>();
  #closed = false;

  /** Takes possession of the message. Those of a lost rank are dropped. */
  deliver(from: number, channel: number, message: Uint8Array): void {
    if (this.#closed || this.#lost.has(from)) return;
    const box = this.#box(from, channel);
    const reader = box.readers.shift();
    if (reader) {
      this.#forgetEmpty(box);
      reader.resolve(message);
      return;
    }
    box.messages.push(message);
    this.#unread.set(channel, this.unread(channel) + 1);
    for (const wake of this.#arrivals.get(channel) ?? []) wake();
    this.#arrivals.delete(channel);
  }

  /** Whether a message waits, or what ends all waiting for one. */
  holds(from: number, channel: number): boolean {
    if (this.#closed || this.#lost.has(from)) return true;
    return (this.#boxes.get(keyOf(from, channel))?.messages.length ?? 0) > 0;
  }

  /** Rejects with PeerLostError or TransportClosedError. */
  async receive(from: number, channel: number): Promise<Uint8Array> {
    checkChannel(channel);
    this.checkPeer(from);
    const box = this.#box(from, channel);
    const message = box.messages.shift();
    if (message) {
      this.#countRead(channel, 1);
      this.#forgetEmpty(box);
      return message;
    }
    return new Promise((resolve, reject) => box.readers.push({ resolve, reject }));
  }

  /** Resolves once a message waits on the channel, the signal aborts or the mailbox closes. */
  async arrival(channel: number, signal: AbortSignal): Promise<void> {
    checkChannel(channel);
    if (this.#closed || signal.aborted || this.unread(channel) > 0) return;
    const waiting = this.#arrivals.get(channel) ?? new Set();
    this.#arrivals.set(channel, waiting);
    await new Promise<void>((resolve) => {
      const wake = () => {
        signal.removeEventListener("abort", wake);
        waiting.delete(wake);
        resolve();
      };
      waiting.add(wake);
      signal.addEventListener("abort", wake);
    });
  }

  /** How many messages wait on a channel. */
  unread(channel: number): number {
    return this.#unread.get(channel) ?? 0;
  }

  /** From now on whoever reads from the rank is told that it is lost; what was unread is dropped. */
  lose(error: PeerLostError): void {
    if (this.#lost.has(error.rank)) return;
    this.#lost.set(error.rank, error);
    this.#abandon((box) => box.from === error.rank, error);
  }

  close(): void {
    this.#closed = true;
    this.#abandon(() => true, new TransportClosedError());
    for (const waiting of this.#arrivals.values()) for (const wake of waiting) wake();
    this.#arrivals.clear();
  }

  /** @throws PeerLostError or TransportClosedError if nothing can pass between here and the rank. */
  checkPeer(rank: number): void {
    if (this.#closed) throw new TransportClosedError();
    const lost = this.#lost.get(rank);
    if (lost) throw lost;
  }

  #abandon(chosen: (box: Box) => boolean, error: Error): void {
    for (const [key, box] of this.#boxes) {
      if (!chosen(box)) continue;
      this.#boxes.delete(key);
      this.#countRead(box.channel, box.messages.length);
      for (const reader of box.readers) reader.reject(error);
    }
  }

  #box(from: number, channel: number): Box {
    const key = keyOf(from, channel);
    let box = this.#boxes.get(key);
    if (!box) {
      box = { from, channel, messages: [], readers: [] };
      this.#boxes.set(key, box);
    }
    return box;
  }

  #countRead(channel: number, messages: number): void {
    const left = this.unread(channel) - messages;
    if (left > 0) this.#unread.set(channel, left);
    else this.#unread.delete(channel);
  }

  /** Channels may be many and short-lived: an empty box is not kept. */
  #forgetEmpty(box: Box): void {
    if (box.messages.length + box.readers.length === 0) {
      this.#boxes.delete(keyOf(box.from, box.channel));
    }
  }
}

/** Exact for any 32-bit channel and fewer than 2^21 ranks. */
const keyOf = (from: number, channel: number) => from * 2 ** 32 + channel;
