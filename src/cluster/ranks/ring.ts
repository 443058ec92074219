import type { SpareMemory } from "../links/index.ts";

/**
 * A ring of bytes in shared memory with one writer and one reader, each in a thread of its own.
 * Messages lie in it one after another: channel and length (two 32-bit words), then the bytes,
 * padded to 8. A message may be longer than the ring: it then passes through in pieces.
 *
 * Positions count bytes modulo 2^32; the capacity is a power of two, so they wrap with the ring.
 * Writer and reader each publish their own position with a sequentially consistent store.
 */

/** Three words, each on a cache line of its own: written, read, writer waits. */
const CONTROL_BYTES = 192;
const READ = 16;
const WRITER_WAITS = 32;
const HEADER_BYTES = 8;

/** Bytes of shared memory that a ring of a capacity takes. */
export const ringBytes = (capacity: number) => CONTROL_BYTES + capacity;

const padded = (length: number) => (length + 7) & ~7;

/** What both ends see: control words, and the data as bytes and as words. */
class RingMemory {
  readonly control: Int32Array;
  readonly bytes: Uint8Array;
  readonly words: Uint32Array;
  readonly mask: number;

  constructor(memory: SharedArrayBuffer, offset: number, capacity: number) {
    this.control = new Int32Array(memory, offset, CONTROL_BYTES / 4);
    this.bytes = new Uint8Array(memory, offset + CONTROL_BYTES, capacity);
    this.words = new Uint32Array(memory, offset + CONTROL_BYTES, capacity / 4);
    this.mask = capacity - 1;
  }
}

export class RingWriter {
  readonly #ring: RingMemory;
  #written = 0;
  /** Where the message at hand goes on; undefined before its header is in the ring. */
  #next: { part: number; at: number } | undefined;

  constructor(memory: SharedArrayBuffer, offset: number, capacity: number) {
    this.#ring = new RingMemory(memory, offset, capacity);
  }

  /**
   * Copies as much of a message as there is room for. True when all of it is in; until then the
   * next call must be for the same message.
   */
  write(channel: number, parts: readonly Uint8Array[]): boolean {
    this.#next ??= this.#writeHeader(channel, parts);
    const next = this.#next;
    if (!next) return false;
    const room = this.#room();
    let size = 0;
    while (next.part < parts.length && (size < room || parts[next.part].length === 0)) {
      const part = parts[next.part];
      const piece = part.subarray(next.at, next.at + room - size);
      this.#copy(piece, size);
      size += piece.length;
      next.at += piece.length;
      if (next.at < part.length) break;
      next.part++;
      next.at = 0;
    }
    const whole = next.part === parts.length;
    if (whole) this.#next = undefined;
    // What is left goes on in whole words.
    this.#publish(padded(size));
    return whole;
  }

  /** Asks the reader to ring when it has made room. True if there already is some. */
  awaitRoom(): boolean {
    Atomics.store(this.#ring.control, WRITER_WAITS, 1);
    return this.#room() >= HEADER_BYTES;
  }

  #writeHeader(
    channel: number,
    parts: readonly Uint8Array[],
  ): { part: number; at: number } | undefined {
    if (this.#room() < HEADER_BYTES) return undefined;
    const { words, mask } = this.#ring;
    const word = (this.#written & mask) >> 2;
    words[word] = channel;
    words[word + 1] = parts.reduce((sum, part) => sum + part.length, 0);
    // Published together with the first piece.
    this.#written = (this.#written + HEADER_BYTES) >>> 0;
    return { part: 0, at: 0 };
  }

  #room(): number {
    const { control, bytes } = this.#ring;
    return bytes.length - ((this.#written - Atomics.load(control, READ)) >>> 0);
  }

  /** So many bytes behind what is written. */
  #copy(piece: Uint8Array, behind: number): void {
    const { bytes, mask } = this.#ring;
    const start = (this.#written + behind) & mask;
    const untilEnd = Math.min(piece.length, bytes.length - start);
    bytes.set(piece.subarray(0, untilEnd), start);
    bytes.set(piece.subarray(untilEnd), 0);
  }

  #publish(size: number): void {
    this.#written = (this.#written + size) >>> 0;
    Atomics.store(this.#ring.control, 0, this.#written | 0);
  }
}

export class RingReader {
  readonly #ring: RingMemory;
  #read = 0;
  /** The message being read: it may be longer than what has arrived of it. */
  #message: { channel: number; bytes: Uint8Array; filled: number } | undefined;
  readonly #spare: SpareMemory;

  constructor(memory: SharedArrayBuffer, offset: number, capacity: number, spare: SpareMemory) {
    this.#ring = new RingMemory(memory, offset, capacity);
    this.#spare = spare;
  }

  /** Copies out all there is. True if the writer waits for the room and has to be rung. */
  read(deliver: (channel: number, message: Uint8Array) => void): boolean {
    const { control } = this.#ring;
    let available = (Atomics.load(control, 0) - this.#read) >>> 0;
    if (available === 0) return false;
    while (available > 0) available -= this.#readSome(available, deliver);
    Atomics.store(control, READ, this.#read | 0);
    return Atomics.exchange(control, WRITER_WAITS, 0) === 1;
  }

  /** A header, or a piece of a message; returns the bytes it took in the ring. */
  #readSome(available: number, deliver: (channel: number, message: Uint8Array) => void): number {
    const taken = this.#message ? this.#readPiece(available) : this.#readHeader();
    this.#read = (this.#read + taken) >>> 0;
    const message = this.#message;
    if (message && message.filled === message.bytes.length) {
      this.#message = undefined;
      deliver(message.channel, message.bytes);
    }
    return taken;
  }

  #readHeader(): number {
    const { words, mask } = this.#ring;
    const word = (this.#read & mask) >> 2;
    this.#message = { channel: words[word], bytes: this.#spare.take(words[word + 1]), filled: 0 };
    return HEADER_BYTES;
  }

  #readPiece(available: number): number {
    const { bytes, mask } = this.#ring;
    const message = this.#message;
    if (!message) return 0;
    const size = Math.min(message.bytes.length - message.filled, available);
    const start = this.#read & mask;
    const untilEnd = Math.min(size, bytes.length - start);
    message.bytes.set(bytes.subarray(start, start + untilEnd), message.filled);
    message.bytes.set(bytes.subarray(0, size - untilEnd), message.filled + untilEnd);
    message.filled += size;
    return padded(size);
  }
}
