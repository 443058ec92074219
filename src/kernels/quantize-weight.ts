import { roundBf16, toInteger } from "./float-formats.ts";
import { e4m3Codes, int8Codes, type Operand } from "./operand-format.ts";
import type { ScaleFormat } from "./policy.ts";
import { blockScale, decodeOperand } from "./quantize.ts";
import type { QuantizedDtype, QuantizedWeight } from "./stream.ts";
import { rowBytes, scaleShape, weightFormats, type ScaleBlock } from "./weight-format.ts";

/** Room for `rows` rows of a quantised weight, its contents unset. */
export function createQuantizedWeight(
  dtype: QuantizedDtype,
  rows: number,
  columns: number,
  block: ScaleBlock = weightFormats[dtype].scaleBlocks[0],
  values = new Uint8Array(rows * rowBytes(dtype, columns)),
): QuantizedWeight {
  const [scaleRows, scaleColumns] = scaleShape(dtype, [rows, columns], block)!;
  return {
    ...{ dtype, block, values },
    scales: new Float32Array(scaleRows * scaleColumns),
    errors: new Float64Array(2 * rows),
  };
}

/** How a block's values become codes: of its scale, and code by code. */
interface Rounding {
  readonly scale: number;
  readonly encode: (x: number) => number;
  /** A code's value over the scale. */
  readonly decode: (code: number) => number;
}

/** Keeps an all-zero block's scale a normal number. */
const WEIGHT_FLOOR = 2 ** -100;

/**
 * Rounds rows of a weight to codes with a scale for each block: FP8 as DeepSeek-V3's checkpoints are
 * and INT8 as rows are. A block with a value that is no number gets NaN as its scale.
 */
export function quantizeWeight(
  out: QuantizedWeight,
  x: Operand,
  rows: number,
  format: ScaleFormat,
): void {
  const { columns } = x;
  const values = new Float64Array(rows * columns);
  decodeOperand(values, x, rows);
  const [blockRows, blockColumns] = out.block;
  const scaleColumns = Math.ceil(columns / blockColumns);
  out.values.fill(0);
  out.errors.fill(0);
  for (let at = 0; at < Math.ceil(rows / blockRows) * scaleColumns; at++) {
    const firstRow = Math.floor(at / scaleColumns) * blockRows;
    const first = (at % scaleColumns) * blockColumns;
    const endRow = Math.min(firstRow + blockRows, rows);
    const end = Math.min(first + blockColumns, columns);
    let most = 0;
    let least = 0;
    let poison = 0;
    for (let row = firstRow; row < endRow; row++) {
      for (let i = row * columns + first; i < row * columns + end; i++) {
        most = Math.max(most, values[i]);
        least = Math.min(least, values[i]);
        poison += values[i] - values[i];
      }
    }
    const rounding = roundingOf(out.dtype, -least > most ? least : most, format);
    out.scales[at] = rounding.scale + poison;
    for (let row = firstRow; row < endRow; row++) {
      for (let column = first; column < end; column++) {
        storeCode(out, rounding, row, column, columns, values[row * columns + column]);
      }
    }
  }
}

function roundingOf(dtype: QuantizedDtype, signed: number, format: ScaleFormat): Rounding {
  const largest = Math.max(WEIGHT_FLOOR, Math.abs(signed));
  if (dtype === "I4") return nibbles(signed < 0 ? -largest : largest);
  const codes = dtype === "I8" ? int8Codes : e4m3Codes;
  const scale = blockScale(largest, codes, format);
  const inverse = Math.fround(codes.largest / largest);
  const decoded = new Float64Array(1);
  return {
    scale,
    encode: (x) => codes.encode(Math.fround(dtype === "I8" ? x * inverse : x / scale)),
    decode(code) {
      codes.decode(decoded, 0, dtype === "I8" ? Int8Array.of(code) : Uint8Array.of(code), 0, 1);
      return decoded[0];
    },
  };
}

/** The value of the largest magnitude, the positive one of two, becomes −8: codes reach further down than up. */
function nibbles(largest: number): Rounding {
  const { zeroPoint } = weightFormats.I4;
  const scale = roundBf16(Math.fround(largest / -8));
  const inverse = Math.fround(1 / scale);
  return {
    scale,
    encode: (x) => Math.max(-8, Math.min(7, toInteger(Math.fround(x * inverse)))) + zeroPoint,
    decode: (code) => code - zeroPoint,
  };
}

function storeCode(
  { dtype, values, errors }: QuantizedWeight,
  { scale, encode, decode }: Rounding,
  row: number,
  column: number,
  columns: number,
  x: number,
): void {
  const code = encode(x);
  if (dtype === "I4") {
    values[row * rowBytes(dtype, columns) + (column >> 1)] |= code << (4 * (column & 1));
  } else values[row * columns + column] = code;
  errors[2 * row] += (x - decode(code) * scale) ** 2;
  errors[2 * row + 1] += x ** 2;
}
