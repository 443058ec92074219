/** Ordered, reliable messages between the ranks of a cluster; channels do not hold each other up. */
export interface Transport {
  /** Own number among all ranks of the cluster. */
  readonly rank: number;
  /**
   * Resolves when `message` may be reused; to oneself is allowed. One that is `given` is the transport's from
   * now on, which saves a copy where it has its memory to itself. Rejects with PeerLostError.
   */
  send(to: number, channel: number, message: Uint8Array, given?: "given"): Promise<void>;
  /**
   * The next message of a rank on a channel, in order sent. One that is expected `soon` may put the
   * thread to sleep for a moment, until it comes. Rejects with PeerLostError.
   */
  receive(from: number, channel: number, expected?: "soon"): Promise<Uint8Array>;
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

/** Channels are unsigned 32-bit numbers. @throws RangeError for anything else. */
export function checkChannel(channel: number): void {
  if (!Number.isInteger(channel) || channel < 0 || channel > 0xffff_ffff) {
    throw new RangeError(`channel: expected a whole number below 2^32, got ${channel}`);
  }
}
