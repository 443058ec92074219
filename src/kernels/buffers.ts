import { loadNative } from "./native-addon.ts";

const CACHE_LINE_BYTES = 64;

export interface ArrayType<Values> {
  readonly BYTES_PER_ELEMENT: number;
  new (buffer: ArrayBufferLike, byteOffset: number, length: number): Values;
}

/**
 * `count` zeros for native kernels. The first begins a cache line: JavaScript engines align buffers
 * to 16 bytes only, and most vector loads would take two lines. A large pool lies in huge pages, if
 * the system has any.
 */
export function allocate<Values>(
  Type: ArrayType<Values>,
  count: number,
  Memory: typeof ArrayBuffer | typeof SharedArrayBuffer = ArrayBuffer,
): Values {
  const memory = new Memory(count * Type.BYTES_PER_ELEMENT + CACHE_LINE_BYTES);
  const { addon } = loadNative();
  if (!addon) return new Type(memory, 0, count);
  const bytes = new Uint8Array(memory);
  addon.preferHugePages(bytes);
  return new Type(memory, -addon.address(bytes) & (CACHE_LINE_BYTES - 1), count);
}
