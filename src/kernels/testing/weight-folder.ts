import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gaussian, type WeightMaker } from "../inputs/index.ts";
import { e4m3Values, fromBf16, toBf16, toE4m3 } from "../float-formats.ts";
import {
  codeBytes,
  rowBytes,
  scaleShape,
  weightFormats,
  type ScaleBlock,
  type WeightDtype,
} from "../weight-format.ts";
import type { Weight } from "../weight.ts";

/** A weight in a file of its own beside its values after decoding and scaling, in float64. */
export interface GeneratedWeight {
  readonly weight: Weight;
  /** [rows, columns] */
  readonly values: Float64Array;
}

/** A folder of generated weights; the owner removes it. */
export class WeightFolder implements WeightMaker {
  readonly #directory = mkdtempSync(join(tmpdir(), "daysix-kernels-"));
  #count = 0;

  /** A random weight of any dtype, at an odd offset, with scales where its format has them. */
  create(
    random: () => number,
    dtype: WeightDtype,
    shape: readonly number[],
    block: ScaleBlock | undefined = weightFormats[dtype].scaleBlocks[0],
  ): GeneratedWeight {
    const columns = shape[shape.length - 1];
    const rows = shape.length === 2 ? shape[0] : 1;
    const raw = gaussian(random, rows * columns, 1 / Math.sqrt(columns));
    const scaled = scaleShape(dtype, [rows, columns], block);
    if (!block || !scaled) return this.#store(dtype, shape, raw);
    const [scaleRows, scaleColumns] = scaled;
    const [blockRows, blockColumns] = block;
    const scales = Float32Array.from({ length: scaleRows * scaleColumns }, () => 0.001 + random());
    const codes = raw.map((x, i) => extremeCode(dtype, i) ?? x * 100);
    const scale = this.#store("F32", scaled, scales).weight;
    const { weight, values } = this.#store(dtype, shape, codes);
    const scaleOf = (row: number, column: number) =>
      scales[Math.floor(row / blockRows) * scaleColumns + Math.floor(column / blockColumns)];
    const products = values.map((code, i) => code * scaleOf(Math.floor(i / columns), i % columns));
    return { weight: { ...weight, scale }, values: products };
  }

  remove(): void {
    rmSync(this.#directory, { recursive: true, force: true });
  }

  #store(dtype: WeightDtype, shape: readonly number[], raw: Float32Array): GeneratedWeight {
    const name = `weight-${this.#count++}`;
    const file = join(this.#directory, name);
    const offset = 3;
    const columns = shape[shape.length - 1];
    const bytes = new DataView(new ArrayBuffer(offset + codeBytes(dtype, shape)));
    const values = new Float64Array(raw.length);
    raw.forEach((x, i) => {
      const column = i % columns;
      const row = offset + ((i - column) / columns) * rowBytes(dtype, columns);
      values[i] = storeElement(bytes, row, column, dtype, x);
    });
    writeFileSync(file, bytes);
    return { weight: { name, dtype, shape, file, offset }, values };
  }
}

/** Now and then the largest value of either sign; in FP8 a denormal or a zero, too. */
function extremeCode(dtype: WeightDtype, i: number): number | undefined {
  const [least, most] = dtype === "I4" ? [-8, 7] : dtype === "I8" ? [-127, 127] : [-448, 448];
  if (i % 613 === 0) return i % 2 === 0 ? most : least;
  return dtype === "F8_E4M3" && i % 29 === 0 ? ((i % 15) - 7) * 2 ** -9 : undefined;
}

/** Writes one element of a row and returns the value it now has. */
function storeElement(
  bytes: DataView,
  row: number,
  column: number,
  dtype: WeightDtype,
  x: number,
): number {
  const at = row + Math.floor((column * weightFormats[dtype].valueBits) / 8);
  switch (dtype) {
    case "F8_E4M3":
      bytes.setUint8(at, toE4m3(x));
      return e4m3Values[toE4m3(x)];
    case "I4":
      return storeNibble(bytes, at, column, Math.max(-8, Math.min(7, Math.round(x))));
    case "I8":
      bytes.setInt8(at, Math.round(x));
      return Math.round(x);
    case "BF16":
      bytes.setUint16(at, toBf16(x), true);
      return fromBf16(toBf16(x));
    case "F32":
      bytes.setFloat32(at, x, true);
      return Math.fround(x);
    case "F16":
    case "F8_E8M0":
      throw new RangeError(`${dtype} weights are not generated`);
  }
}

function storeNibble(bytes: DataView, at: number, column: number, x: number): number {
  bytes.setUint8(at, bytes.getUint8(at) | ((x + 8) << (4 * (column & 1))));
  return x;
}
