import { openSync, closeSync, readSync, fstatSync } from "node:fs";
import { decodeBf16, decodeE4m3, fromF16 } from "./float-formats.ts";
import { bytesPerElement, SCALE_BLOCK, type Weight, type WeightDtype } from "./weight.ts";

/** A weight that could not be read or holds a value that is not a number. */
export class WeightError extends Error {
  override readonly name = "WeightError";
}

/** Float32 values of a piece, 2 GiB in bytes. */
const PIECE_VALUES = 2 ** 29;

/**
 * The reference's view of a checkpoint: each weight is read on first use and kept decoded as
 * float32 in shared memory, in pieces of at most 2 GiB that hold whole rows.
 */
export class WeightReader {
  readonly #loaded = new Map<Weight, LoadedWeight>();

  load(weight: Weight): LoadedWeight {
    let loaded = this.#loaded.get(weight);
    if (!loaded) {
      loaded = new LoadedWeight(weight, weight.scale && this.vector(weight.scale));
      this.#loaded.set(weight, loaded);
    }
    return loaded;
  }

  /** All values of a small weight: a norm's gain, a router's bias, a scale. */
  vector(weight: Weight): Float32Array {
    const { pieces } = this.load(weight);
    if (pieces.length > 1) throw new RangeError(`tensor ${weight.name} is too large for a vector`);
    return pieces[0].values;
  }
}

/** Consecutive rows of a weight. */
export interface WeightPiece {
  readonly firstRow: number;
  readonly rows: number;
  /** [rows, columns]; FP8 codes before their scale */
  readonly values: Float32Array;
}

/** A weight's values in memory. Vectors count as one row. */
export class LoadedWeight {
  readonly rows: number;
  readonly columns: number;
  /** [ceil(rows / 128), scaleColumns] */
  readonly scales: Float32Array | undefined;
  readonly scaleColumns: number;
  readonly pieces: readonly WeightPiece[];
  readonly #rowsPerPiece: number;

  constructor(weight: Weight, scales: Float32Array | undefined) {
    this.rows = weight.shape.length === 2 ? weight.shape[0] : 1;
    this.columns = weight.shape[weight.shape.length - 1];
    this.scales = scales;
    this.scaleColumns = Math.ceil(this.columns / SCALE_BLOCK);
    this.#rowsPerPiece = Math.max(1, Math.floor(PIECE_VALUES / this.columns));
    this.pieces = readPieces(weight, this.rows, this.columns, this.#rowsPerPiece);
  }

  /** The piece that holds a row. */
  pieceOf(row: number): WeightPiece {
    return this.pieces[Math.floor(row / this.#rowsPerPiece)];
  }

  /** A row's values, FP8 codes before their scale. */
  row(row: number): Float32Array {
    const { values, firstRow } = this.pieceOf(row);
    const from = (row - firstRow) * this.columns;
    return values.subarray(from, from + this.columns);
  }

  /** The scale of the block that holds (row, columnBlock · 128), 1 where the weight has none. */
  scale(row: number, columnBlock: number): number {
    return this.scales ? this.scales[(row >>> 7) * this.scaleColumns + columnBlock] : 1;
  }
}

function readPieces(weight: Weight, rows: number, columns: number, most: number): WeightPiece[] {
  const rowBytes = columns * bytesPerElement[weight.dtype];
  const pieces: WeightPiece[] = [];
  const file = openSync(weight.file, "r");
  try {
    refuseShort(weight, rows * rowBytes, fstatSync(file).size);
    for (let firstRow = 0; firstRow < rows; firstRow += most) {
      const count = Math.min(most, rows - firstRow);
      const bytes = readBytes(file, weight, firstRow * rowBytes, count * rowBytes);
      const values = new Float32Array(new SharedArrayBuffer(count * columns * 4));
      decode(values, weight.dtype, bytes.buffer);
      refuseNonFinite(values, weight, firstRow, columns);
      pieces.push({ firstRow, rows: count, values });
    }
  } finally {
    closeSync(file);
  }
  return pieces;
}

/** @throws WeightError if the weight's file ends before its `bytes` */
export function refuseShort(weight: Weight, bytes: number, fileBytes: number): void {
  const available = fileBytes - weight.offset;
  if (available >= bytes) return;
  throw new WeightError(
    `tensor ${weight.name} needs ${bytes} bytes from offset ${weight.offset}, ` +
      `but ${weight.file} holds ${Math.max(0, available)}`,
  );
}

function readBytes(file: number, weight: Weight, from: number, bytes: number): Uint8Array {
  const read = new Uint8Array(new ArrayBuffer(bytes));
  for (let done = 0; done < bytes;) {
    const length = Math.min(bytes - done, 2 ** 30);
    const count = readSync(file, read, done, length, weight.offset + from + done);
    if (count === 0) throw new WeightError(`${weight.file} ends inside tensor ${weight.name}`);
    done += count;
  }
  return read;
}

function decode(out: Float32Array, dtype: WeightDtype, bytes: ArrayBufferLike): void {
  switch (dtype) {
    case "F8_E4M3":
      decodeE4m3(out, 0, new Uint8Array(bytes), 0, out.length);
      return;
    case "BF16":
      decodeBf16(out, 0, new Uint16Array(bytes), 0, out.length);
      return;
    case "F16":
      new Uint16Array(bytes).forEach((code, i) => (out[i] = fromF16(code)));
      return;
    case "F32":
      out.set(new Float32Array(bytes));
  }
}

function refuseNonFinite(values: Float32Array, weight: Weight, firstRow: number, columns: number) {
  const at = values.findIndex((value) => !Number.isFinite(value));
  if (at < 0) return;
  const place = `row ${firstRow + Math.floor(at / columns)}, column ${at % columns}`;
  throw new WeightError(`tensor ${weight.name} in ${weight.file} holds ${values[at]} at ${place}`);
}
