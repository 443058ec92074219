import { open, statfs, type FileHandle } from "node:fs/promises";

/** A tensor to be written. */
export interface TensorLayout {
  readonly name: string;
  readonly dtype: string;
  readonly shape: readonly number[];
  readonly bytes: number;
}

/** Writes a safetensors file: the header of all tensors, then their bytes in the same order. */
export class SafetensorsWriter {
  readonly #file: FileHandle;
  #missing: number;

  private constructor(file: FileHandle, bytes: number) {
    this.#file = file;
    this.#missing = bytes;
  }

  /** Replaces the file where there is one. */
  static async create(file: string, tensors: readonly TensorLayout[]): Promise<SafetensorsWriter> {
    const handle = await open(file, "w");
    await handle.writeFile(headerOf(tensors));
    return new SafetensorsWriter(handle, bytesOf(tensors));
  }

  async write(bytes: Uint8Array): Promise<void> {
    this.#missing -= bytes.length;
    await this.#file.writeFile(bytes);
  }

  /** @throws RangeError when the tensors written are not those of the header */
  async close(): Promise<void> {
    await this.#file.close();
    if (this.#missing !== 0) throw new RangeError(`${this.#missing} bytes were not written`);
  }
}

export function bytesOf(tensors: readonly TensorLayout[]): number {
  return tensors.reduce((sum, { bytes }) => sum + bytes, 0);
}

/** @throws RangeError where the folder's disk has no room for `bytes` */
export async function expectRoom(folder: string, bytes: number): Promise<void> {
  const { bavail, bsize } = await statfs(folder);
  if (bytes <= bavail * bsize) return;
  const [needed, free] = [bytes, bavail * bsize].map((size) => (size / 1e9).toFixed(1));
  throw new RangeError(`${folder}: ${needed} GB are needed, ${free} GB are free`);
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
