const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const OPEN_BRACKET = 0x5b;
const CLOSE_BRACKET = 0x5d;
const OPEN_BRACE = 0x7b;
const CLOSE_BRACE = 0x7d;
/** Space, tab, line feed, carriage return, comma. */
const separators: ReadonlySet<number> = new Set([0x20, 0x09, 0x0a, 0x0d, 0x2c]);

/** Longest event. */
const MAX_PENDING_BYTES = 2 ** 24;

const eventsKey = Buffer.from("traceEvents");

/**
 * Finds the events in the bytes of a trace, chunk by chunk, so that neither a file longer than
 * JavaScript's longest string nor one without an end is a problem. A trace is an array of event
 * objects, or an object with such an array under "traceEvents". Throws a SyntaxError where
 * something else lies; the object's other values are skipped unread.
 */
export class EventScanner {
  /** What earlier chunks left over: the beginning of an event, or of a string outside events. */
  #pending: Buffer = Buffer.alloc(0);
  /** Where that begins in the bytes at hand. */
  #pendingFrom: number | undefined;
  /** Bytes of the file before the bytes at hand. */
  #position = 0;
  #started = false;
  /** Brackets and braces that are open. */
  #depth = 0;
  /** Depth between events while inside their array; 0, which is outside the value, elsewhere. */
  #eventDepth = 0;
  #string: "outside" | "inside" | "escaped" = "outside";
  /** Whether the last string outside events was "traceEvents". */
  #afterEventsKey = false;

  /** Whether the value that the bytes began has ended. */
  get complete(): boolean {
    return this.#started && this.#depth === 0;
  }

  /** Events that end in this chunk. */
  push(chunk: Buffer): unknown[] {
    const events: unknown[] = [];
    let at = this.#pending.length;
    const bytes = at === 0 ? chunk : Buffer.concat([this.#pending, chunk]);
    for (; at < bytes.length; at++) {
      const event = this.#step(bytes, at);
      if (event !== undefined) events.push(event);
    }
    this.#keep(bytes);
    return events;
  }

  #keep(bytes: Buffer): void {
    const from = this.#pendingFrom ?? bytes.length;
    this.#pending = bytes.subarray(from);
    this.#position += from;
    if (this.#pendingFrom !== undefined) this.#pendingFrom = 0;
    if (this.#pending.length > MAX_PENDING_BYTES) {
      throw new SyntaxError(`an event of more than ${MAX_PENDING_BYTES} bytes`);
    }
  }

  /** Takes one byte; gives the event that ends with it. */
  #step(bytes: Buffer, at: number): unknown {
    const byte = bytes[at];
    if (this.#string !== "outside") this.#stepString(bytes, at);
    else if (byte === OPEN_BRACE || byte === OPEN_BRACKET) this.#open(byte, at);
    else if (byte === CLOSE_BRACE || byte === CLOSE_BRACKET) return this.#close(bytes, at);
    else {
      const outsideObjects = this.#depth === this.#eventDepth;
      if (outsideObjects && !separators.has(byte)) throw this.#unexpected(at);
      if (byte === QUOTE) {
        this.#string = "inside";
        this.#pendingFrom ??= at;
      }
    }
    return undefined;
  }

  #stepString(bytes: Buffer, at: number): void {
    const byte = bytes[at];
    if (this.#string === "escaped") this.#string = "inside";
    else if (byte === BACKSLASH) this.#string = "escaped";
    else if (byte === QUOTE) {
      this.#string = "outside";
      if (this.#eventDepth > 0) return;
      this.#afterEventsKey = bytes.subarray((this.#pendingFrom ?? at) + 1, at).equals(eventsKey);
      this.#pendingFrom = undefined;
    }
  }

  #open(byte: number, at: number): void {
    const isArray = byte === OPEN_BRACKET;
    const outsideObjects = this.#depth === this.#eventDepth;
    if (outsideObjects && this.#started) {
      if (isArray || this.#depth === 0) throw this.#unexpected(at);
      this.#pendingFrom = at;
    }
    const holdsEvents = !this.#started || (this.#depth === 1 && this.#afterEventsKey);
    this.#started = true;
    this.#depth++;
    if (isArray && holdsEvents) this.#eventDepth = this.#depth;
  }

  #close(bytes: Buffer, at: number): unknown {
    if (this.#depth === 0) throw this.#unexpected(at);
    if (this.#depth === this.#eventDepth) this.#eventDepth = 0;
    this.#depth--;
    if (this.#eventDepth === 0 || this.#depth > this.#eventDepth) return undefined;
    const text = bytes.toString("utf8", this.#pendingFrom, at + 1);
    this.#pendingFrom = undefined;
    return JSON.parse(text);
  }

  #unexpected(at: number): SyntaxError {
    return new SyntaxError(`unexpected byte at ${this.#position + at}`);
  }
}
