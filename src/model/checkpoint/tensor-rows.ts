import { open, type FileHandle } from "node:fs/promises";
import {
  e4m3Values,
  SCALE_BLOCK,
  storedOperand,
  WeightReader,
  type Operand,
  type Weight,
} from "../../kernels/index.ts";
import { CheckpointError, type TensorEntry } from "./safetensors.ts";

/** Read at once: whole rows of blocks of any released model's weights. */
const CHUNK_BYTES = 2 ** 24;

function chunkBytes({ shape, bytes }: TensorEntry): number {
  const rowBytes = Math.max(1, bytes / (shape[0] ?? 1));
  return Math.max(1, Math.floor(CHUNK_BYTES / rowBytes / SCALE_BLOCK)) * SCALE_BLOCK * rowBytes;
}

/** Memory used again in turn: what is taken may be used until so many others are. */
export class TakenInTurn {
  readonly #buffers: ArrayBuffer[];
  #next = 0;

  constructor(count: number) {
    this.#buffers = Array.from({ length: count }, () => new ArrayBuffer(0));
  }

  take(bytes: number): Uint8Array<ArrayBuffer> {
    const at = this.#next++ % this.#buffers.length;
    if (this.#buffers[at].byteLength < bytes) this.#buffers[at] = new ArrayBuffer(bytes);
    return new Uint8Array(this.#buffers[at], 0, bytes);
  }
}

/** Reads tensors in chunks, one while another is used. */
export class TensorReader {
  readonly #files = new Map<string, Promise<FileHandle>>();
  /** One that is used and one that is read. */
  readonly #memory = new TakenInTurn(2);
  /** The beginning of the tensor that is read next. */
  #ahead?: { readonly entry: TensorEntry; readonly bytes: Promise<Uint8Array<ArrayBuffer>> };

  async close(): Promise<void> {
    for (const file of this.#files.values()) await (await file).close();
  }

  /** `following`: the tensor that is read next, if any. */
  async *chunks(
    entry: TensorEntry,
    following?: TensorEntry,
  ): AsyncGenerator<Uint8Array<ArrayBuffer>> {
    const most = chunkBytes(entry);
    let next = this.#ahead?.entry === entry ? this.#ahead.bytes : this.#read(entry, 0);
    for (let at = 0; at < entry.bytes; at += most) {
      const bytes = await next;
      if (at + most < entry.bytes) next = this.#read(entry, at + most);
      else if (following) this.#ahead = { entry: following, bytes: this.#read(following, 0) };
      yield bytes;
    }
  }

  /** A matrix's rows as numbers, whole blocks of rows at once; `scale` is that of an FP8 one. */
  async *rows(
    entry: TensorEntry,
    scale: Weight | undefined,
    following?: TensorEntry,
  ): AsyncGenerator<Operand> {
    const [rows, columns] = entry.shape;
    const scales = scale && new WeightReader().vector(scale);
    let row = 0;
    for await (const bytes of this.chunks(entry, following)) {
      const values = scales ? decodeFp8(bytes, row, columns, scales) : valuesOf(entry, bytes);
      yield storedOperand(values, columns);
      row += (bytes.length * rows) / entry.bytes;
    }
  }

  #read(entry: TensorEntry, at: number): Promise<Uint8Array<ArrayBuffer>> {
    const bytes = this.#memory.take(Math.min(chunkBytes(entry), entry.bytes - at));
    const read = async () => {
      const file = await this.#open(entry.file);
      const { bytesRead } = await file.read(bytes, 0, bytes.length, entry.offset + at);
      if (bytesRead === bytes.length) return bytes;
      throw new CheckpointError(entry.file, "ends inside the tensor", entry.name);
    };
    const reading = read();
    // Who stops early does not await it.
    reading.catch(() => undefined);
    return reading;
  }

  #open(path: string): Promise<FileHandle> {
    const file = this.#files.get(path) ?? open(path, "r");
    this.#files.set(path, file);
    return file;
  }
}

function valuesOf({ dtype }: TensorEntry, { buffer, byteLength }: Uint8Array<ArrayBuffer>) {
  if (dtype === "F32") return new Float32Array(buffer, 0, byteLength / 4);
  return new Uint16Array(buffer, 0, byteLength / 2);
}

/** FP8 codes of rows from `firstRow`, which begins a block, times their scales. */
function decodeFp8(codes: Uint8Array, firstRow: number, columns: number, scales: Float32Array) {
  const out = new Float32Array(codes.length);
  const scaleColumns = Math.ceil(columns / SCALE_BLOCK);
  for (let from = 0; from < codes.length; from += columns) {
    const row = firstRow + from / columns;
    const ownScales = Math.floor(row / SCALE_BLOCK) * scaleColumns;
    for (let column = 0; column < columns; column++) {
      const scale = scales[ownScales + Math.floor(column / SCALE_BLOCK)];
      out[from + column] = e4m3Values[codes[from + column]] * scale;
    }
  }
  return out;
}
