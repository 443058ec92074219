import { decodeBf16, decodeE4m3, fromF16 } from "./float-formats.ts";

/** Values of an operand's row that share a scale, and inputs a matmul sums before it promotes them. */
export const SCALE_BLOCK = 128;

/** How a weight is stored in its checkpoint file; only scales are F8_E8M0, powers of two. */
export type WeightDtype = "F32" | "BF16" | "F16" | "F8_E4M3" | "F8_E8M0" | "I8" | "I4";

/** Rows and columns that share a scale; Infinity: all of them. */
export type ScaleBlock = readonly [rows: number, columns: number];

/** What there is to know of a weight's bytes. A weight's value is (code − zeroPoint) × scale. */
export interface WeightFormat {
  readonly valueBits: number;
  /** A row's bytes are a multiple of these. */
  readonly rowAlignment: number;
  /** The blocks that weights may have scales for, ours first; none where weights have no scales. */
  readonly scaleBlocks: readonly ScaleBlock[];
  /** How a checkpoint may keep the scales. */
  readonly scaleTypes: readonly WeightDtype[];
  readonly zeroPoint: number;
  /** Codes whose bits under `mask` are all set are infinite or no numbers; integers have none. */
  readonly nonFinite?: { readonly Codes: CodeArray; readonly mask: number };
  /** Codes of whole rows as numbers, before zero point and scale. */
  readonly decode: (out: Float32Array, bytes: ArrayBufferLike, columns: number) => void;
}

type CodeArray = typeof Uint8Array | typeof Uint16Array | typeof Uint32Array;

const plain = { rowAlignment: 1, scaleBlocks: [], scaleTypes: [], zeroPoint: 0 } as const;

export const weightFormats: Readonly<Record<WeightDtype, WeightFormat>> = {
  F32: {
    ...plain,
    valueBits: 32,
    nonFinite: { Codes: Uint32Array, mask: 0x7f80_0000 },
    decode: (out, bytes) => out.set(new Float32Array(bytes)),
  },
  BF16: {
    ...plain,
    valueBits: 16,
    nonFinite: { Codes: Uint16Array, mask: 0x7f80 },
    decode: (out, bytes) => decodeBf16(out, 0, new Uint16Array(bytes), 0, out.length),
  },
  F16: {
    ...plain,
    valueBits: 16,
    nonFinite: { Codes: Uint16Array, mask: 0x7c00 },
    decode: (out, bytes) => new Uint16Array(bytes).forEach((code, i) => (out[i] = fromF16(code))),
  },
  F8_E4M3: {
    valueBits: 8,
    rowAlignment: 1,
    scaleBlocks: [[SCALE_BLOCK, SCALE_BLOCK]],
    scaleTypes: ["F32", "BF16", "F8_E8M0"],
    zeroPoint: 0,
    nonFinite: { Codes: Uint8Array, mask: 0x7f },
    decode: (out, bytes) => decodeE4m3(out, 0, new Uint8Array(bytes), 0, out.length),
  },
  F8_E8M0: {
    ...plain,
    valueBits: 8,
    nonFinite: { Codes: Uint8Array, mask: 0xff },
    decode: (out, bytes) =>
      new Uint8Array(bytes).forEach(
        (code, i) => (out[i] = code === 0xff ? NaN : 2 ** (code - 127)),
      ),
  },
  I8: {
    valueBits: 8,
    rowAlignment: 1,
    scaleBlocks: [
      [1, SCALE_BLOCK],
      [SCALE_BLOCK, SCALE_BLOCK],
      [1, Infinity],
    ],
    scaleTypes: ["F32", "BF16"],
    zeroPoint: 0,
    decode: (out, bytes) => out.set(new Int8Array(bytes)),
  },
  /** Two codes a byte, the lower four bits first; a row is whole words. */
  I4: {
    valueBits: 4,
    rowAlignment: 4,
    scaleBlocks: [
      [1, 32],
      [1, SCALE_BLOCK],
    ],
    scaleTypes: ["BF16", "F16", "F32"],
    zeroPoint: 8,
    decode: decodeNibbles,
  },
};

function decodeNibbles(out: Float32Array, bytes: ArrayBufferLike, columns: number): void {
  const codes = new Uint8Array(bytes);
  const bytesPerRow = rowBytes("I4", columns);
  for (let i = 0; i < out.length; i++) {
    const column = i % columns;
    const byte = codes[((i - column) / columns) * bytesPerRow + (column >> 1)];
    out[i] = (byte >> (4 * (column & 1))) & 15;
  }
}

export function isWeightDtype(dtype: string): dtype is WeightDtype {
  return Object.hasOwn(weightFormats, dtype);
}

export function rowBytes(dtype: WeightDtype, columns: number): number {
  const { valueBits, rowAlignment } = weightFormats[dtype];
  return Math.ceil((columns * valueBits) / 8 / rowAlignment) * rowAlignment;
}

/** Bytes of a weight's codes; its scales are a weight of their own. */
export function codeBytes(dtype: WeightDtype, shape: readonly number[]): number {
  const rows = shape.slice(0, -1).reduce((product, side) => product * side, 1);
  return rows * rowBytes(dtype, shape[shape.length - 1]);
}

/** The shape of a weight's scales, one for each block; undefined for weights without. */
export function scaleShape(
  dtype: WeightDtype,
  shape: readonly number[],
  block: ScaleBlock | undefined = weightFormats[dtype].scaleBlocks[0],
): number[] | undefined {
  const sides = block?.slice(-shape.length);
  return sides && shape.map((side, i) => Math.max(1, Math.ceil(side / sides[i])));
}

/** The blocks that a weight's scales of this shape stand for; undefined where they fit none. */
export function scaleBlockOf(
  dtype: WeightDtype,
  shape: readonly number[],
  scales: readonly number[],
): ScaleBlock | undefined {
  // A vector's scales may be one row.
  const matrix = scales.length > shape.length ? [1, ...shape] : shape;
  return weightFormats[dtype].scaleBlocks.find(
    (block) => String(scaleShape(dtype, matrix, block)) === String(scales),
  );
}
