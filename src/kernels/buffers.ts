import { loadNative } from "./native-addon.ts";

const CACHE_LINE_BYTES = 64;

interface ArrayType<Values> {
  readonly BYTES_PER_ELEMENT: number;
  new (buffer: ArrayBufferLike, byteOffset: number, length: number): Values;
}

/**
 * `count` zeros that begin on a cache line where kernels are native: an engine aligns its buffers to
 * 16 bytes only, and most vector loads would take two lines.
 */
export function allocate<Values>(
  Type: ArrayType<Values>,
  count: number,
  Memory: typeof ArrayBuffer | typeof SharedArrayBuffer = ArrayBuffer,
): Values {
  const memory = new Memory(count * Type.BYTES_PER_ELEMENT + CACHE_LINE_BYTES);
  const address = loadNative().addon?.address(new Uint8Array(memory)) ?? 0;
  return new Type(memory, -address & (CACHE_LINE_BYTES - 1), count);
}
