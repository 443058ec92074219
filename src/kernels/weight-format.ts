import { decodeBf16, decodeE4m3, fromF16 } from "./float-formats.ts";

/** Values of an operand's row that share a scale, and inputs a matmul sums before it promotes them. */
export const SCALE_BLOCK = 128;

/** How a weight is stored in its checkpoint file. */
export type WeightDtype = "F32" | "BF16" | "F16" | "F8_E4M3";

/** What there is to know of a weight's bytes. A weight's value is (code − zeroPoint) × scale. */
export interface WeightFormat {
  readonly valueBits: number;
  /** Rows and columns that share a scale; undefined where weights have none. */
  readonly scaleBlock: readonly [rows: number, columns: number] | undefined;
  /** How a checkpoint may keep the scales. */
  readonly scaleTypes: readonly WeightDtype[];
  readonly zeroPoint: number;
  /** Codes whose bits under `mask` are all set are infinite or no numbers. */
  readonly nonFinite: { readonly Codes: CodeArray; readonly mask: number };
  /** Codes as numbers, before zero point and scale. */
  readonly decode: (out: Float32Array, bytes: ArrayBufferLike) => void;
}

type CodeArray = typeof Uint8Array | typeof Uint16Array | typeof Uint32Array;

const plain = { scaleBlock: undefined, scaleTypes: [], zeroPoint: 0 } as const;

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
    scaleBlock: [SCALE_BLOCK, SCALE_BLOCK],
    scaleTypes: ["F32", "BF16"],
    zeroPoint: 0,
    nonFinite: { Codes: Uint8Array, mask: 0x7f },
    decode: (out, bytes) => decodeE4m3(out, 0, new Uint8Array(bytes), 0, out.length),
  },
};

export function isWeightDtype(dtype: string): dtype is WeightDtype {
  return Object.hasOwn(weightFormats, dtype);
}

export function rowBytes(dtype: WeightDtype, columns: number): number {
  return Math.ceil((columns * weightFormats[dtype].valueBits) / 8);
}

/** Bytes of a weight's codes; its scales are a weight of their own. */
export function codeBytes(dtype: WeightDtype, shape: readonly number[]): number {
  const rows = shape.slice(0, -1).reduce((product, side) => product * side, 1);
  return rows * rowBytes(dtype, shape[shape.length - 1]);
}

/** The shape of a weight's scales; undefined for weights without. */
export function scaleShape(dtype: WeightDtype, shape: readonly number[]): number[] | undefined {
  const block = weightFormats[dtype].scaleBlock?.slice(-shape.length);
  return block && shape.map((side, i) => Math.ceil(side / block[i]));
}
