import { SpareMemory } from "../links/index.ts";

/** Bytes, or parts of them that follow each other. */
export type Message = Uint8Array | readonly Uint8Array[];

/** Ordered, reliable messages between the ranks of a cluster; channels do not hold each other up. */
export interface Transport {
  /** Own number among all ranks of the cluster. */
  readonly rank: number;
  /**
   * Resolves when `message` may be reused; to oneself is allowed. One that the receiver has `asked` for, so
   * that there are never many, does not wait for earlier ones to leave. Rejects with PeerLostError.
   */
  send(to: number, channel: number, message: Message, asked?: "asked"): Promise<void>;
  /**
   * The next message of a rank on a channel, in order sent. One that is expected `soon` may put the
   * thread to sleep for a moment, until it comes. Rejects with PeerLostError.
   */
  receive(from: number, channel: number, expected?: "soon"): Promise<Uint8Array>;
  /** Gives back the memory of a message received, which nobody reads any more. */
  release(message: Uint8Array): void;
  /** Resolves when a message of any rank waits on a channel (at once if one does), or when the signal aborts. */
  arrival(channel: number, signal: AbortSignal): Promise<void>;
  close(): void;
}

/** A rank that messages were to go to or come from is dead, frozen, silent or cut off. */
export class PeerLostError extends Error {
  override readonly name = "PeerLostError";
  readonly rank: number;

  constructor(rank: number, reason: string) {
    super(`rank ${rank} is lost: ${reason}`);
    this.rank = rank;
  }
}

/** The transport was closed on this side while a message was under way. */
export class TransportClosedError extends Error {
  override readonly name = "TransportClosedError";

  constructor() {
    super("the transport is closed");
  }
}

export const partsOf = (message: Message): readonly Uint8Array[] =>
  message instanceof Uint8Array ? [message] : message;

export const lengthOf = (message: Message): number =>
  partsOf(message).reduce((sum, part) => sum + part.length, 0);

/** In memory of its own. */
export function copyOf(message: Message, spare = new SpareMemory()): Uint8Array<ArrayBuffer> {
  const copy = spare.take(lengthOf(message));
  let at = 0;
  for (const part of partsOf(message)) {
    copy.set(part, at);
    at += part.length;
  }
  return copy;
}

/** Channels are unsigned 32-bit numbers. @throws RangeError for anything else. */
export function checkChannel(channel: number): void {
  if (!Number.isInteger(channel) || channel < 0 || channel > 0xffff_ffff) {
    throw new RangeError(`channel: expected a whole number below 2^32, got ${channel}`);
  }
}
