import { open } from "node:fs/promises";
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

/** A tensor's bytes in chunks, each in memory of its own; the next is read meanwhile. */
export async function* chunksOf(
  entry: TensorEntry,
  most = CHUNK_BYTES,
): AsyncGenerator<Uint8Array<ArrayBuffer>> {
  const handle = await open(entry.file, "r");
  const read = async (at: number) => {
    const bytes = new Uint8Array(Math.max(0, Math.min(most, entry.bytes - at)));
    const { bytesRead } = await handle.read(bytes, 0, bytes.length, entry.offset + at);
    if (bytesRead === bytes.length) return bytes;
    throw new CheckpointError(entry.file, "ends inside the tensor", entry.name);
  };
  let next = read(0);
  try {
    for (let at = 0; at < entry.bytes; at += most) {
      const bytes = await next;
      next = read(at + most);
      // Who stops early does not await it.
      next.catch(() => undefined);
      yield bytes;
    }
  } finally {
    await next.catch(() => undefined);
    await handle.close();
  }
}

/** A matrix's rows as numbers, whole blocks of rows at once; `scale` is that of an FP8 one. */
export async function* rowsOf(
  entry: TensorEntry,
  scale: Weight | undefined,
): AsyncGenerator<Operand> {
  const [rows, columns] = entry.shape;
  const rowBytes = entry.bytes / rows;
  const chunkRows = Math.max(1, Math.floor(CHUNK_BYTES / rowBytes / SCALE_BLOCK)) * SCALE_BLOCK;
  const scales = scale && new WeightReader().vector(scale);
  let row = 0;
  for await (const bytes of chunksOf(entry, chunkRows * rowBytes)) {
    yield scales
      ? storedOperand(decodeFp8(bytes, row, columns, scales), columns)
      : storedOperand(entry.dtype === "F32" ? floats(bytes) : halves(bytes), columns);
    row += chunkRows;
  }
}

const floats = ({ buffer }: Uint8Array<ArrayBuffer>) => new Float32Array(buffer);
const halves = ({ buffer }: Uint8Array<ArrayBuffer>) => new Uint16Array(buffer);

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
