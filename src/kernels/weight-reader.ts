import { openSync, closeSync, readSync, fstatSync } from "node:fs";
import { float32 } from "./float-formats.ts";
import {
  rowBytes,
  SCALE_BLOCK,
  scaleBlockOf,
  weightFormats,
  type ScaleBlock,
  type WeightDtype,
} from "./weight-format.ts";
import {
  codesShape,
  unpackInt4,
  zeroPointsShape,
  type Int4Packing,
  type PackedInt4,
} from "./int4-packing.ts";
import type { Weight } from "./weight.ts";

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
      const scales = weight.scale && this.vector(weight.scale);
      loaded = weight.packing
        ? unpacked(weight, weight.packing, scales!)
        : new LoadedWeight(weight, scales);
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
  /** [rows, columns]; before their scale, denormals flushed */
  readonly values: Float32Array;
}

/** A weight's values in memory. Vectors count as one row. */
export class LoadedWeight {
  readonly dtype: WeightDtype;
  readonly rows: number;
  readonly columns: number;
  /** Rows that share scales, and columns that share one and are summed before they are promoted. */
  readonly blockRows: number;
  readonly blockColumns: number;
  /** [ceil(rows / blockRows), scaleColumns] */
  readonly scales: Float32Array | undefined;
  readonly scaleColumns: number;
  readonly pieces: readonly WeightPiece[];
  readonly #rowsPerPiece: number;

  /** `values`: all of them, where they are not as the file has them. */
  constructor(weight: Weight, scales: Float32Array | undefined, values?: Float32Array) {
    this.dtype = weight.dtype;
    this.rows = weight.shape.length === 2 ? weight.shape[0] : 1;
    this.columns = weight.shape[weight.shape.length - 1];
    const shared = scaleBlock(weight) ?? [SCALE_BLOCK, SCALE_BLOCK];
    this.blockRows = shared[0];
    this.blockColumns = Math.min(shared[1], SCALE_BLOCK);
    this.scales = scales && blockScales(scales, weight, [this.blockRows, this.blockColumns]);
    this.scaleColumns = Math.ceil(this.columns / this.blockColumns);
    this.#rowsPerPiece = Math.max(1, Math.floor(PIECE_VALUES / this.columns));
    if (values) this.pieces = [{ firstRow: 0, rows: this.rows, values }];
    else this.pieces = readPieces(weight, this.rows, this.columns, this.#rowsPerPiece);
  }

  /** The piece that holds a row. */
  pieceOf(row: number): WeightPiece {
    return this.pieces[Math.floor(row / this.#rowsPerPiece)];
  }

  /** A row's values before their scale. */
  row(row: number): Float32Array {
    const { values, firstRow } = this.pieceOf(row);
    const from = (row - firstRow) * this.columns;
    return values.subarray(from, from + this.columns);
  }

  /** The scale of a block of columns in a row's block, 1 where the weight has none. */
  scale(row: number, columnBlock: number): number {
    if (!this.scales) return 1;
    return this.scales[Math.floor(row / this.blockRows) * this.scaleColumns + columnBlock];
  }
}

/** A weight whose codes lie otherwise than row after row. */
function unpacked(weight: Weight, packing: Int4Packing, scales: Float32Array): LoadedWeight {
  const { name, dtype, shape, scale } = weight;
  const [outputs, inputs] = shape;
  const groups = scale!.shape[packing.order === "rows" ? 1 : 0];
  const matrixOf = (place: Pick<Weight, "name" | "file" | "offset">, sides: readonly number[]) => {
    const { pieces } = new LoadedWeight({ ...place, dtype, shape: sides }, undefined);
    if (pieces.length > 1) throw new RangeError(`tensor ${name} is too large to be unpacked`);
    return pieces[0].values;
  };
  const { file, offset } = weight;
  const { zeroPoints } = packing;
  const packed: PackedInt4 = {
    codes: matrixOf({ name, file, offset }, codesShape(packing, shape)),
    zeroPoints: zeroPoints && matrixOf(zeroPoints, zeroPointsShape(packing, outputs, groups)),
    ...{ scales, outputs, inputs, groups },
  };
  const rows = unpackInt4(packed, packing);
  const byRow: Weight = { ...weight, scale: { ...scale!, shape: [outputs, groups] } };
  return new LoadedWeight(byRow, rows.scales, rows.values);
}

/** @throws WeightError where the scales' shape fits no block that the dtype's weights may have */
function scaleBlock({ name, dtype, shape, scale }: Weight): ScaleBlock | undefined {
  if (!scale) return undefined;
  const block = scaleBlockOf(dtype, shape, scale.shape);
  if (block) return block;
  throw new WeightError(
    `tensor ${name}: scales [${scale.shape.join(", ")}] fit no block of ${dtype} [${shape.join(", ")}]`,
  );
}

/** A weight's scales as those of other blocks, no larger in any direction: repeated. */
export function blockScales(values: Float32Array, weight: Weight, to: ScaleBlock): Float32Array {
  const from = scaleBlock(weight) ?? to;
  if (String(from) === String(to)) return values;
  const [columns, rows = 1] = [...weight.shape].reverse();
  const [toRows, toColumns] = [Math.ceil(rows / to[0]), Math.ceil(columns / to[1])];
  const fromColumns = Math.max(1, Math.ceil(columns / from[1]));
  return Float32Array.from({ length: toRows * toColumns }, (_, i) => {
    const row = Math.floor((Math.floor(i / toColumns) * to[0]) / from[0]);
    return values[row * fromColumns + Math.floor(((i % toColumns) * to[1]) / from[1])];
  });
}

function readPieces(weight: Weight, rows: number, columns: number, most: number): WeightPiece[] {
  const { decode, zeroPoint } = weightFormats[weight.dtype];
  const size = rowBytes(weight.dtype, columns);
  const pieces: WeightPiece[] = [];
  const file = openSync(weight.file, "r");
  try {
    refuseShort(weight, rows * size, fstatSync(file).size);
    for (let firstRow = 0; firstRow < rows; firstRow += most) {
      const count = Math.min(most, rows - firstRow);
      const bytes = readBytes(file, weight, firstRow * size, count * size);
      const values = new Float32Array(new SharedArrayBuffer(count * columns * 4));
      decode(values, bytes.buffer, columns);
      if (zeroPoint !== 0) values.forEach((code, i) => (values[i] = code - zeroPoint));
      refuseNonFinite(values, weight, firstRow, columns);
      for (let i = 0; i < values.length; i++) values[i] = float32(values[i]);
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

function refuseNonFinite(values: Float32Array, weight: Weight, firstRow: number, columns: number) {
  const at = values.findIndex((value) => !Number.isFinite(value));
  if (at < 0) return;
  const place = `row ${firstRow + Math.floor(at / columns)}, column ${at % columns}`;
  throw new WeightError(`tensor ${weight.name} in ${weight.file} holds ${values[at]} at ${place}`);
}
