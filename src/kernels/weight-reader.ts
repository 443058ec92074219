import { openSync, closeSync, readSync, fstatSync } from "node:fs";
import { e4m3Values, fromBf16, fromF16 } from "./float-formats.ts";
import { bytesPerElement, SCALE_BLOCK, type Weight } from "./weight.ts";

/** A weight that could not be read or holds a value that is not a number. */
export class WeightError extends Error {
  override readonly name = "WeightError";
}

const PIECE_BYTES = 2 ** 31;

/**
 * The reference's view of a checkpoint: each weight is read on first use into shared memory, in
 * pieces of at most 2 GiB that hold whole rows, and decoded row by row.
 */
export class WeightReader {
  readonly #loaded = new Map<Weight, LoadedWeight>();
  readonly #vectors = new Map<Weight, Float32Array>();

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
    let values = this.#vectors.get(weight);
    if (!values) {
      const loaded = new LoadedWeight(weight, undefined);
      const row = new Float64Array(loaded.columns);
      values = new Float32Array(loaded.rows * loaded.columns);
      for (let i = 0; i < loaded.rows; i++) {
        loaded.decodeRow(i, row, 0);
        values.set(row, i * loaded.columns);
      }
      this.#vectors.set(weight, values);
    }
    return values;
  }
}

/** A weight's bytes in memory. Vectors count as one row. */
export class LoadedWeight {
  readonly weight: Weight;
  readonly rows: number;
  readonly columns: number;
  /** [ceil(rows / 128), scaleColumns] */
  readonly scales: Float32Array | undefined;
  readonly scaleColumns: number;
  readonly #pieces: readonly DataView[];
  readonly #rowsPerPiece: number;
  readonly #rowBytes: number;

  constructor(weight: Weight, scales: Float32Array | undefined) {
    this.weight = weight;
    this.rows = weight.shape.length === 2 ? weight.shape[0] : 1;
    this.columns = weight.shape[weight.shape.length - 1];
    this.scales = scales;
    this.scaleColumns = Math.ceil(this.columns / SCALE_BLOCK);
    this.#rowBytes = this.columns * bytesPerElement[weight.dtype];
    this.#rowsPerPiece = Math.max(1, Math.floor(PIECE_BYTES / this.#rowBytes));
    this.#pieces = readPieces(
      weight,
      this.rows * this.#rowBytes,
      this.#rowsPerPiece * this.#rowBytes,
    );
    this.#refuseNonFinite();
  }

  /** The scale of the block that holds (row, columnBlock · 128), 1 where the weight has none. */
  scale(row: number, columnBlock: number): number {
    return this.scales ? this.scales[(row >>> 7) * this.scaleColumns + columnBlock] : 1;
  }

  /** Writes a row's values, FP8 codes before their scale, to `out` from `at`. */
  decodeRow(row: number, out: Float64Array, at: number): void {
    const piece = this.#pieces[Math.floor(row / this.#rowsPerPiece)];
    const start = (row % this.#rowsPerPiece) * this.#rowBytes;
    const { columns } = this;
    switch (this.weight.dtype) {
      case "F8_E4M3": {
        const codes = new Uint8Array(piece.buffer, start, columns);
        for (let i = 0; i < columns; i++) out[at + i] = e4m3Values[codes[i]];
        return;
      }
      case "BF16": {
        const codes = new Uint16Array(piece.buffer, start, columns);
        for (let i = 0; i < columns; i++) out[at + i] = fromBf16(codes[i]);
        return;
      }
      case "F16": {
        const codes = new Uint16Array(piece.buffer, start, columns);
        for (let i = 0; i < columns; i++) out[at + i] = fromF16(codes[i]);
        return;
      }
      case "F32":
        out.set(new Float32Array(piece.buffer, start, columns), at);
    }
  }

  #refuseNonFinite(): void {
    const row = new Float64Array(this.columns);
    for (let i = 0; i < this.rows; i++) {
      this.decodeRow(i, row, 0);
      for (let j = 0; j < this.columns; j++) {
        if (!Number.isFinite(row[j])) {
          const { name, file } = this.weight;
          throw new WeightError(
            `tensor ${name} in ${file} holds ${row[j]} at row ${i}, column ${j}`,
          );
        }
      }
    }
  }
}

function readPieces(weight: Weight, bytes: number, pieceBytes: number): DataView[] {
  const pieces: DataView[] = [];
  const file = openSync(weight.file, "r");
  try {
    const available = fstatSync(file).size - weight.offset;
    if (available < bytes) {
      throw new WeightError(
        `tensor ${weight.name} needs ${bytes} bytes from offset ${weight.offset}, ` +
          `but ${weight.file} holds ${Math.max(0, available)}`,
      );
    }
    for (let at = 0; at < bytes; at += pieceBytes) {
      pieces.push(readPiece(file, weight, at, Math.min(pieceBytes, bytes - at)));
    }
  } finally {
    closeSync(file);
  }
  return pieces;
}

function readPiece(file: number, weight: Weight, from: number, bytes: number): DataView {
  const piece = new DataView(new SharedArrayBuffer(bytes));
  for (let done = 0; done < bytes;) {
    const length = Math.min(bytes - done, 1 << 30);
    const read = readSync(file, piece, done, length, weight.offset + from + done);
    if (read === 0) throw new WeightError(`${weight.file} ends inside tensor ${weight.name}`);
    done += read;
  }
  return piece;
}
