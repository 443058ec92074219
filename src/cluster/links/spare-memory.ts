/** Smaller messages are as well left to the collector. */
const SMALLEST_BYTES = 16 * 1024;
/** What a rank or a node keeps at most: outputs of 2,048 rows of V2-Lite's width are some 25 MB. */
const MOST_BYTES = 32 * 1024 * 1024;

/**
 * Memory of messages that are over, for those to come. A thread that allocates each message anew has V8 mark its
 * whole heap for every 8 MB of them, which took a third of its time where machines exchange a layer's rows.
 */
export class SpareMemory {
  /** The one given last is the first. */
  readonly #spare: ArrayBuffer[] = [];
  #bytes = 0;

  /** So many bytes, all of which will be written, so that they need not be zero. */
  take(length: number): Uint8Array<ArrayBuffer> {
    const fits = ({ byteLength }: ArrayBuffer) => byteLength >= length && byteLength <= 2 * length;
    const at = this.#spare.findIndex(fits);
    if (at < 0)
      return new Uint8Array(Buffer.allocUnsafeSlow(capacityFor(length)).buffer, 0, length);
    const [buffer] = this.#spare.splice(at, 1);
    this.#bytes -= buffer.byteLength;
    return new Uint8Array(buffer, 0, length);
  }

  /** Takes possession of all the memory in which a message lies. */
  give({ buffer }: Uint8Array): void {
    if (!(buffer instanceof ArrayBuffer)) return;
    if (buffer.byteLength < SMALLEST_BYTES || buffer.byteLength > MOST_BYTES) return;
    this.#spare.unshift(buffer);
    this.#bytes += buffer.byteLength;
    while (this.#bytes > MOST_BYTES) this.#bytes -= this.#spare.pop()?.byteLength ?? 0;
  }
}

/** Rounded up by at most an eighth, since a layer's messages differ by little. */
function capacityFor(length: number): number {
  if (length < SMALLEST_BYTES) return length;
  const granule = 2 ** (Math.floor(Math.log2(length)) - 3);
  return Math.ceil(length / granule) * granule;
}
