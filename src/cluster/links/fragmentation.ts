import { laneOf } from "../channels.ts";
import {
  CONTROL_FRAME_BYTES,
  type Frame,
  FrameError,
  type FrameHeader,
  MAXIMUM_CONTROL_BYTES,
  MAXIMUM_DATA_BYTES,
  MAXIMUM_MESSAGE_BYTES,
  nodeFrame,
  type OutgoingFrame,
} from "./frame.ts";
import { SpareMemory } from "./spare-memory.ts";

/** A message from rank to rank. */
export interface RankMessage {
  readonly from: number;
  readonly to: number;
  readonly channel: number;
  readonly message: Uint8Array;
}

interface Outgoing extends RankMessage {
  readonly written: () => void;
  sent: number;
}

/** Messages of a channel between two ranks. */
const streamOf = ({ from, to, channel }: Omit<RankMessage, "message">) =>
  `${from} ${to} ${channel}`;

/** Messages on their way to a link, cut into frames so that a long one holds up no other lane. */
export class Outbox {
  readonly #lanes = new Map<string, Outgoing[]>();

  /** `written` goes with the message's last frame. @throws RangeError if too long. */
  push(message: RankMessage, written: () => void): void {
    if (message.message.length > MAXIMUM_MESSAGE_BYTES) {
      throw new RangeError(
        `a message holds at most ${MAXIMUM_MESSAGE_BYTES} bytes, got ${message.message.length}`,
      );
    }
    const outgoing = { ...message, written, sent: 0 };
    const key = streamOf({ ...message, channel: laneOf(message.channel) });
    const lane = this.#lanes.get(key);
    if (lane) lane.push(outgoing);
    else this.#lanes.set(key, [outgoing]);
  }

  /** The next frame of the lane whose turn it is. */
  next(): OutgoingFrame | undefined {
    const [first] = this.#lanes;
    if (!first) return undefined;
    const [key, lane] = first;
    const [outgoing] = lane;
    const { from, to, channel, message, sent } = outgoing;
    const payload = message.subarray(sent, sent + MAXIMUM_DATA_BYTES);
    outgoing.sent += payload.length;
    const remaining = message.length - outgoing.sent;
    if (remaining === 0) lane.shift();
    this.#lanes.delete(key);
    if (lane.length > 0) this.#lanes.set(key, lane);
    const frame = { type: "data", from, to, channel, remaining, payload } as const;
    return remaining === 0 ? { ...frame, written: outgoing.written } : frame;
  }
}

/** The frames of a control message. @throws RangeError if it is too long. */
export function controlFrames(message: Uint8Array): Frame[] {
  if (message.length > MAXIMUM_CONTROL_BYTES) {
    throw new RangeError(
      `a control message holds at most ${MAXIMUM_CONTROL_BYTES} bytes, got ${message.length}`,
    );
  }
  const frames = Math.max(1, Math.ceil(message.length / CONTROL_FRAME_BYTES));
  return Array.from({ length: frames }, (_, index) => {
    const end = Math.min(message.length, (index + 1) * CONTROL_FRAME_BYTES);
    const payload = message.subarray(index * CONTROL_FRAME_BYTES, end);
    return { ...nodeFrame("control", payload), remaining: message.length - end };
  });
}

/** What holding a message, or a loss, takes: a short one is not free. */
export const costOfHolding = (bytes: number) => bytes + 512;

/**
 * Of messages of one link that have begun to come, in all: sixteen of the longest. Outputs that eight ranks send
 * home in a layer, for 2,048 rows each in V3's width, are 3.8 GB in float32. A peer that begins more is not what
 * it seems.
 */
const MOST_PARTIAL_BYTES = 16 * costOfHolding(MAXIMUM_MESSAGE_BYTES);

/** A message of which some frames have come. */
interface PartialMessage {
  readonly message: Uint8Array;
  filled: number;
}

/** Puts the messages together again that the other side's outbox has cut. */
export class MessageAssembler {
  readonly #partial = new Map<string, PartialMessage>();
  readonly #spare: SpareMemory;
  readonly #mostBytes: number;
  /** Of all partial messages. */
  #bytes = 0;

  /** @param mostBytes of messages that have begun to come, in all */
  constructor(spare = new SpareMemory(), mostBytes = MOST_PARTIAL_BYTES) {
    this.#spare = spare;
    this.#mostBytes = mostBytes;
  }

  /**
   * The place in its message for the payload of a frame that begins to come. @throws FrameError if there is
   * no room
   */
  room(header: FrameHeader): Uint8Array {
    const { length, remaining } = header;
    const partial = this.#partialOf(header, length);
    if (!partial || !continues(partial, length, remaining)) return this.#take(length);
    return partial.message.subarray(partial.filled, partial.filled + length);
  }

  /**
   * The message a frame ends, if it ends one. @throws FrameError if it does not continue its own, or there is no
   * room
   */
  add(frame: Frame): Uint8Array | undefined {
    const { payload, remaining } = frame;
    const partial = this.#partialOf(frame, payload.length);
    if (!partial) return payload;
    const { message, filled } = partial;
    if (!continues(partial, payload.length, remaining)) {
      throw new FrameError(`a frame from rank ${frame.from} does not continue its message`);
    }
    // Frames that came before anyone asked for room are copied.
    if (payload.buffer !== message.buffer) message.set(payload, filled);
    partial.filled += payload.length;
    if (remaining > 0) return undefined;
    this.#partial.delete(streamOf(frame));
    this.#bytes -= costOfHolding(message.length);
    return message;
  }

  /** Of the message a frame belongs to; undefined where the frame is all of it. */
  #partialOf(frame: Omit<Frame, "payload">, length: number): PartialMessage | undefined {
    const key = streamOf(frame);
    let partial = this.#partial.get(key);
    if (!partial && frame.remaining > 0) {
      const bytes = length + frame.remaining;
      if (this.#bytes + costOfHolding(bytes) > this.#mostBytes) {
        const limit = `over the limit of ${this.#mostBytes} bytes`;
        throw new FrameError(`messages that have begun to come are ${limit} together`);
      }
      partial = { message: this.#take(bytes), filled: 0 };
      this.#partial.set(key, partial);
      this.#bytes += costOfHolding(bytes);
    }
    return partial;
  }

  /** A node that has no memory left for a link can do without that link. */
  #take(bytes: number): Uint8Array {
    try {
      return this.#spare.take(bytes);
    } catch (error) {
      throw new FrameError(`no memory for ${bytes} bytes of a message`, { cause: error });
    }
  }
}

const continues = ({ message, filled }: PartialMessage, length: number, remaining: number) =>
  length > 0 && filled + length + remaining === message.length;
