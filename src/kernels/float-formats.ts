/** BF16, FP16 and FP8 (e4m3fn) as the kernels read and round them: to nearest, ties to even. */

const float = new Float32Array(1);
const bits = new Uint32Array(float.buffer);

/** What rounds to the least normal float32; what is smaller would become a denormal. */
const LEAST_NORMAL = 2 ** -126 - 2 ** -151;

/**
 * The nearest float32, as a processor gives it that flushes denormals, results and inputs alike: a
 * zero of the number's sign takes their place.
 */
export function float32(x: number): number {
  // Divided by infinity, x leaves a zero of its sign.
  return Math.abs(x) < LEAST_NORMAL ? x / Infinity : Math.fround(x);
}

/** BF16 bits of a number. */
export function toBf16(x: number): number {
  float[0] = x;
  const b = bits[0];
  if ((b & 0x7fffffff) > 0x7f800000) return (b >>> 16) | 0x40;
  return (b + 0x7fff + ((b >>> 16) & 1)) >>> 16;
}

export function fromBf16(code: number): number {
  bits[0] = code << 16;
  return float[0];
}

/** The nearest BF16 value. */
export function roundBf16(x: number): number {
  return fromBf16(toBf16(x));
}

export function fromF16(code: number): number {
  const sign = code & 0x8000 ? -1 : 1;
  const exponent = (code >>> 10) & 0x1f;
  const fraction = code & 0x3ff;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  if (exponent === 31) return fraction ? NaN : sign * Infinity;
  return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}

/** The integer nearest to a float32 of magnitude below 2^22, ties to even. */
export function toInteger(x: number): number {
  // Adding 1.5 · 2^23 leaves no fraction bits: float32 addition rounds to the nearest even integer.
  return Math.fround(x + 12_582_912) - 12_582_912;
}

/** The least power of two not below a positive normal float32. */
export function nextPowerOfTwo(x: number): number {
  float[0] = x;
  bits[0] = (bits[0] + 0x7fffff) & 0x7f800000;
  return float[0];
}

/** Largest finite e4m3 value. */
export const E4M3_MAX = 448;

/** Value of each e4m3fn code: exponent bias 7, subnormals in steps of 2^-9, NaN at 0x7f and 0xff. */
export const e4m3Values: Float64Array = Float64Array.from({ length: 256 }, (_, code) => {
  const sign = code & 0x80 ? -1 : 1;
  const exponent = (code >>> 3) & 0xf;
  const fraction = code & 7;
  if (exponent === 15 && fraction === 7) return NaN;
  const magnitude = exponent === 0 ? fraction * 2 ** -9 : (1 + fraction / 8) * 2 ** (exponent - 7);
  return sign * magnitude;
});

/** The e4m3 code nearest to a number, saturating at ±448. */
export function toE4m3(x: number): number {
  const magnitude = Math.min(Math.abs(x), E4M3_MAX);
  const sign = x < 0 || Object.is(x, -0) ? 0x80 : 0;
  if (magnitude < 2 ** -6) {
    // Adding 2^23 leaves no fraction bits: float32 addition rounds to the nearest even integer.
    return sign | (Math.fround(Math.fround(magnitude * 512) + 8388608) - 8388608);
  }
  float[0] = magnitude;
  const b = bits[0];
  const rounded = (b + 0x7ffff + ((b >>> 20) & 1)) >>> 20;
  return sign | (rounded - ((127 - 7) << 3));
}

/** Decodes e4m3 codes to numbers. */
export function decodeE4m3(
  out: Float32Array | Float64Array,
  at: number,
  codes: Uint8Array,
  from: number,
  count: number,
): void {
  const values = e4m3Values;
  for (let i = 0; i < count; i++) out[at + i] = values[codes[from + i]];
}

/** Decodes BF16 bits to numbers. */
export function decodeBf16(
  out: Float32Array | Float64Array,
  at: number,
  codes: Uint16Array,
  from: number,
  count: number,
): void {
  for (let i = 0; i < count; i++) {
    bits[0] = codes[from + i] << 16;
    out[at + i] = float[0];
  }
}
