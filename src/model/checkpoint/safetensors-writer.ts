import { open, statfs, type FileHandle } from "node:fs/promises";

/** A tensor to be written. */
export interface TensorLayout {
  readonly name: string;
  readonly dtype: string;
  readonly shape: readonly number[];
  readonly bytes: number;
}

/** Appends a tensor's next bytes to a file; they may be changed once it resolves. */
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
  const writer = new BlockWriter(file);
  try {
    await writer.write(headerOf(tensors));
    let missing = bytesOf(tensors);
    await fill(async (bytes) => {
      missing -= bytes.length;
      await writer.write(bytes);
    });
    await writer.end();
    if (missing !== 0) throw new RangeError(`${path}: ${missing} bytes were not written`);
  } finally {
    await writer.idle();
    await file.close();
  }
}

/** Written at once, at multiples of it: then the page cache has the file in pages of 2 MiB, where it can. */
const BLOCK_BYTES = 2 ** 23;
/** Blocks after which the disk gets them, if it has those before: systems wait for gigabytes. */
const SYNCED_BLOCKS = 16;

/** Appends to a file by whole blocks, one of which is written while the next is filled. */
class BlockWriter {
  readonly #file: FileHandle;
  readonly #blocks = [new Uint8Array(BLOCK_BYTES), new Uint8Array(BLOCK_BYTES)];
  #turn = 0;
  #filled = 0;
  #pending: Promise<void> = Promise.resolve();
  #unsynced = 0;
  #syncing: Promise<void> | undefined;

  constructor(file: FileHandle) {
    this.#file = file;
  }

  async write(bytes: Uint8Array): Promise<void> {
    for (let from = 0; from < bytes.length;) {
      const count = Math.min(bytes.length - from, BLOCK_BYTES - this.#filled);
      this.#blocks[this.#turn].set(bytes.subarray(from, from + count), this.#filled);
      this.#filled += count;
      from += count;
      if (this.#filled === BLOCK_BYTES) await this.#flush();
    }
  }

  async end(): Promise<void> {
    await this.#flush();
    await this.#pending;
  }

  /** Resolves when nothing is written any more, whatever became of it. */
  async idle(): Promise<void> {
    await this.#pending.catch(() => undefined);
    await this.#syncing;
  }

  async #flush(): Promise<void> {
    await this.#pending;
    this.#pending = writeAll(this.#file, this.#blocks[this.#turn].subarray(0, this.#filled));
    // Whoever writes learns of it with the next block, or at the end.
    this.#pending.catch(() => undefined);
    this.#turn = 1 - this.#turn;
    this.#filled = 0;
    if (++this.#unsynced >= SYNCED_BLOCKS) this.#syncing ??= this.#sync();
  }

  /** What goes wrong is told by whoever syncs or closes the file. */
  async #sync(): Promise<void> {
    this.#unsynced = 0;
    await this.#file.datasync().catch(() => undefined);
    this.#syncing = undefined;
  }
}

/** A system writes at most 2 GiB at once, and may write less. */
async function writeAll(file: FileHandle, bytes: Uint8Array): Promise<void> {
  for (let from = 0; from < bytes.length;) {
    from += (await file.write(bytes, from, bytes.length - from)).bytesWritten;
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
