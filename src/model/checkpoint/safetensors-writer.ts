import { open, statfs } from "node:fs/promises";

/** A tensor to be written. */
export interface TensorLayout {
  readonly name: string;
  readonly dtype: string;
  readonly shape: readonly number[];
  readonly bytes: number;
}

/** Appends a tensor's next bytes to a file, which are read until the next call or the end. */
export type WriteBytes = (bytes: Uint8Array) => Promise<void>;

/**
 * Writes a safetensors file, replacing the one that is there: the header of all tensors, then their
 * bytes, which `fill` writes in the same order.
 *
 * @throws RangeError when the bytes written are not as many as the header says
 */
export async function writeSafetensors(
  path: string,
  tensors: readonly TensorLayout[],
  fill: (write: WriteBytes) => Promise<void>,
): Promise<void> {
  const file = await open(path, "w");
  try {
    await file.writeFile(headerOf(tensors));
    let missing = bytesOf(tensors);
    let pending = Promise.resolve();
    await fill(async (bytes) => {
      missing -= bytes.length;
      await pending;
      pending = file.writeFile(bytes);
      // Whoever fills the file learns of it with the next bytes.
      pending.catch(() => undefined);
    }).finally(() => pending.catch(() => undefined));
    await pending;
    if (missing !== 0) throw new RangeError(`${path}: ${missing} bytes were not written`);
  } finally {
    await file.close();
  }
}

export function bytesOf(tensors: readonly TensorLayout[]): number {
  return tensors.reduce((sum, { bytes }) => sum + bytes, 0);
}

/** @throws RangeError where the folder's disk has no room for `bytes` */
export async function expectRoom(folder: string, bytes: number): Promise<void> {
  const room = await roomOf(folder);
  if (bytes <= room) return;
  const [needed, free] = [bytes, room].map((size) => (size / 1e9).toFixed(1));
  throw new RangeError(`${folder}: ${needed} GB are needed, ${free} GB are free`);
}

/** Bytes that the folder's disk has free for this user. */
export async function roomOf(folder: string): Promise<number> {
  const { bavail, bsize } = await statfs(folder);
  return bavail * bsize;
}

function headerOf(tensors: readonly TensorLayout[]): Buffer {
  let at = 0;
  const entries = tensors.map(({ name, dtype, shape, bytes }) => {
    const start = at;
    at += bytes;
    return [name, { dtype, shape, data_offsets: [start, at] }];
  });
  const json = Buffer.from(JSON.stringify(Object.fromEntries(entries)));
  // Tensors begin on a cache line.
  const padded = Math.ceil((8 + json.length) / 64) * 64;
  const header = Buffer.alloc(padded, " ");
  header.writeBigUInt64LE(BigInt(padded - 8));
  json.copy(header, 8);
  return header;
}
