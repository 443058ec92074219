/**
 * What nodes say to each other: frames of a fixed header and a bounded payload, big-endian.
 *
 *     type u8 | zero u8 u16 | from u32 | to u32 | channel u32 | length u32 | remaining u32 | payload
 *
 * `length` counts the payload's bytes; `remaining` those of the same message in frames to come.
 * Frames of type data use from, to and channel; data and control use remaining.
 */
export const frameTypes = [
  "hello",
  "refusal",
  "membership",
  "control",
  "data",
  "heartbeat",
] as const;

export type FrameType = (typeof frameTypes)[number];

export interface Frame {
  readonly type: FrameType;
  /** Rank numbers, each of one life of a rank. */
  readonly from: number;
  readonly to: number;
  readonly channel: number;
  readonly remaining: number;
  readonly payload: Uint8Array;
}

/** A frame to be written; its payload must not change before it is. */
export interface OutgoingFrame extends Frame {
  /** The system has taken all of it. */
  readonly written?: () => void;
}

/** A frame whose payload, of so many bytes, is still to come. */
export type FrameHeader = Omit<Frame, "payload"> & { readonly length: number };

/** Where the payload of a frame is put as it comes: so many bytes. */
export type RoomFor = (header: FrameHeader) => Uint8Array;

/** Memory of its own. All of it will be written, so that it need not be zero. */
export const freshRoom = ({ length }: { readonly length: number }): Uint8Array =>
  new Uint8Array(Buffer.allocUnsafeSlow(length).buffer);

/** A peer said something that is no frame, or no frame that belongs here. */
export class FrameError extends Error {
  override readonly name = "FrameError";
}

const HEADER_BYTES = 24;

/** Numbers of ranks are never given twice, so that they are many; mailboxes hold so many apart. */
export const MAXIMUM_RANK = 2 ** 21 - 1;

/** Longer messages between ranks are cut. */
export const MAXIMUM_DATA_BYTES = 128 * 1024;
/** Bytes of a whole message between ranks: a layer's rows of a large step, with room to spare. */
export const MAXIMUM_MESSAGE_BYTES = 512 * 1024 * 1024;

/** Bytes of a whole control message. */
export const MAXIMUM_CONTROL_BYTES = 64 * 1024 * 1024;
/** Longer control messages are cut. */
export const CONTROL_FRAME_BYTES = 1024 * 1024;

const maximumPayload: Readonly<Record<FrameType, number>> = {
  hello: 16 * 1024,
  refusal: 16 * 1024,
  membership: 256 * 1024,
  control: CONTROL_FRAME_BYTES,
  data: MAXIMUM_DATA_BYTES,
  heartbeat: 0,
};

/** A frame between nodes rather than ranks. @throws RangeError if the payload is too long. */
export function nodeFrame(type: FrameType, payload: Uint8Array = new Uint8Array(0)): Frame {
  if (payload.length > maximumPayload[type]) {
    throw new RangeError(
      `a ${type} frame holds at most ${maximumPayload[type]} bytes, got ${payload.length}`,
    );
  }
  return { type, from: 0, to: 0, channel: 0, remaining: 0, payload };
}

export function encodeHeader(frame: Frame): Uint8Array {
  const header = new Uint8Array(HEADER_BYTES);
  const view = new DataView(header.buffer);
  view.setUint8(0, frameTypes.indexOf(frame.type) + 1);
  view.setUint32(4, frame.from);
  view.setUint32(8, frame.to);
  view.setUint32(12, frame.channel);
  view.setUint32(16, frame.payload.length);
  view.setUint32(20, frame.remaining);
  return header;
}

/** @throws FrameError for anything outside the format or its limits. */
function decodeHeader(header: Uint8Array): FrameHeader {
  const view = new DataView(header.buffer);
  const type = frameTypes.at(view.getUint8(0) - 1);
  if (view.getUint8(0) === 0 || !type || view.getUint8(1) !== 0 || view.getUint16(2) !== 0) {
    const start = Buffer.from(header.subarray(0, 4)).toString("hex");
    throw new FrameError(`expected a frame, got bytes that start with ${start}`);
  }
  const length = view.getUint32(16);
  const remaining = view.getUint32(20);
  if (length > maximumPayload[type]) {
    throw new FrameError(
      `a ${type} frame of ${length} bytes is over the limit of ${maximumPayload[type]}`,
    );
  }
  const most = type === "control" ? MAXIMUM_CONTROL_BYTES : MAXIMUM_MESSAGE_BYTES;
  if (length + remaining > most) {
    throw new FrameError(`a message of ${length + remaining} bytes is over the limit of ${most}`);
  }
  const [from, to] = [view.getUint32(4), view.getUint32(8)];
  const channel = view.getUint32(12);
  return { type, from, to, channel, remaining, length };
}

/** Finds frames in a stream of bytes that comes in chunks of any size. */
export class FrameDecoder {
  readonly #roomFor: RoomFor;
  readonly #header = new Uint8Array(HEADER_BYTES);
  /** The frame whose payload is being filled; undefined while its header is. */
  #frame: Frame | undefined;
  #filled = 0;

  constructor(roomFor: RoomFor = freshRoom) {
    this.#roomFor = roomFor;
  }

  /** Frames that end in this chunk. @throws FrameError at what is none; decode no more then. */
  *decode(chunk: Uint8Array): Generator<Frame, void, undefined> {
    for (let at = 0; at < chunk.length;) {
      const part = this.#frame?.payload ?? this.#header;
      const size = Math.min(part.length - this.#filled, chunk.length - at);
      part.set(chunk.subarray(at, at + size), this.#filled);
      this.#filled += size;
      at += size;
      if (this.#filled === HEADER_BYTES && !this.#frame) this.#startPayload();
      if (this.#frame?.payload.length === this.#filled) yield this.#take(this.#frame);
    }
  }

  #startPayload(): void {
    const { length, ...frame } = decodeHeader(this.#header);
    this.#frame = { ...frame, payload: this.#roomFor({ ...frame, length }) };
    this.#filled = 0;
  }

  #take(frame: Frame): Frame {
    this.#frame = undefined;
    this.#filled = 0;
    return frame;
  }
}
