/**
 * Exponentials, logarithms, sines and cosines to about a unit in the last place, of sums, products,
 * quotients and the bits of numbers alone: nobody promises the bits of Math's functions, and these
 * reach KV, logits and the choice of tokens. native/rows/elementary.h has the same bits.
 */

import { float32 } from "./float-formats.ts";

/** 2^-n for n from 0 to 1022: halving is exact. */
const powers = new Float64Array(1023);
for (let n = 0, next = 1; n < powers.length; n++, next /= 2) powers[n] = next;

/** 1 / k!, the largest k first. */
const series = Float64Array.of(
  ...[1 / 6227020800, 1 / 479001600, 1 / 39916800, 1 / 3628800, 1 / 362880, 1 / 40320, 1 / 5040],
  ...[1 / 720, 1 / 120, 1 / 24, 1 / 6, 1 / 2, 1, 1],
);

/** ln 2 in two parts; a whole number of at most 11 bits times the first is exact. */
const LN2_HIGH = 6.93147180369123816e-1;
const LN2_LOW = 1.9082149292705877e-10;
/** Added and taken away again it leaves the nearest whole number. */
const ROUNDING = 1.5 * 2 ** 52;

/** e^x; 0 below −708, before denormals begin, and infinity above 708. */
export function exponential(x: number): number {
  if (x < -708) return 0;
  if (x > 708) return Infinity;
  const n = x * Math.LOG2E + ROUNDING - ROUNDING;
  const rest = x - n * LN2_HIGH - n * LN2_LOW;
  let sum = series[0];
  for (let k = 1; k < series.length; k++) sum = sum * rest + series[k];
  return n > 0 ? sum / powers[n] : sum * powers[-n];
}

/** ln 2 in two parts; a whole number of at most 8 bits times the first is exact. */
const LN2_HIGH_32 = Math.fround(0.693145752);
const LN2_LOW_32 = Math.fround(1.42860677e-6);
const LOG2E_32 = Math.fround(Math.LOG2E);
const ROUNDING_32 = 1.5 * 2 ** 23;
const series32 = Float32Array.of(
  ...[1.98756912e-4, 1.39819994e-3, 8.33345205e-3, 4.16657962e-2, 1.66666657e-1, 0.5],
);

/**
 * e^x of a float32 to about a unit in the last place, every operation rounded to float32, as
 * native/simd/vector.h computes it: 0 where it would be a denormal, and infinity above 88.37.
 */
export function exponential32(x: number): number {
  const clamped = x < -88 ? -88 : x > 89 ? 89 : x;
  const n = float32(float32(clamped * LOG2E_32) + ROUNDING_32) - ROUNDING_32;
  const rest = float32(float32(clamped - float32(n * LN2_HIGH_32)) - float32(n * LN2_LOW_32));
  let sum = series32[0];
  for (let k = 1; k < series32.length; k++) sum = float32(float32(sum * rest) + series32[k]);
  sum = float32(float32(float32(rest * rest) * sum) + rest);
  sum = float32(sum + 1);
  if (n === 128) return Infinity;
  return n < -126 ? 0 : float32(n > 0 ? sum / powers[n] : sum * powers[-n]);
}

/** Of atanh's series 2 s (1 + s²/3 + s⁴/5 …), fitted to where a mantissa near 1 leads (fdlibm). */
const logarithmSeries = Float64Array.of(
  ...[1.479819860511658591e-1, 1.531383769920937332e-1, 1.818357216161805012e-1],
  ...[2.222219843214978396e-1, 2.857142874366239149e-1, 3.999999999940941908e-1],
  6.66666666666673513e-1,
);

const double = new Float64Array(1);
const halves = new Uint32Array(double.buffer);

/** The natural logarithm of a positive normal number. */
export function logarithm(x: number): number {
  double[0] = x;
  // The exponent that leaves a mantissa between √½ and √2.
  const exponent = (halves[1] - 0x3fe6a09e) >> 20;
  halves[1] -= exponent << 20;
  const f = double[0] - 1;
  const s = f / (2 + f);
  const z = s * s;
  let sum = logarithmSeries[0];
  for (let k = 1; k < logarithmSeries.length; k++) sum = sum * z + logarithmSeries[k];
  const half = 0.5 * f * f;
  const rest = s * (half + sum * z) + exponent * LN2_LOW;
  return exponent * LN2_HIGH - (half - rest - f);
}

/** base^exponent of a positive base. */
export function power(base: number, exponent: number): number {
  return exponential(exponent * logarithm(base));
}

const TWO_OVER_PI = 0.6366197723675814;
/** π/2 in parts of 27 bits; a whole number of 26 bits times one of them is exact. */
const HALF_PI = [
  1.570796325802803, 9.920935739593517e-10, 5.721188709663575e-18, 1.6446256936324258e-26,
] as const;

/** Taylor's series less rounding's share (fdlibm), from the last term on. */
const sineSeries = Float64Array.of(
  ...[1.58969099521155010221e-10, -2.50507602534068634195e-8, 2.75573137070700676789e-6],
  ...[-1.98412698298579493134e-4, 8.33333333332248946124e-3, -1.66666666666666324348e-1],
);
const cosineSeries = Float64Array.of(
  ...[-1.13596475577881948265e-11, 2.0875723212981748279e-9, -2.75573143513906633035e-7],
  ...[2.48015872894767294178e-5, -1.38888888888741095749e-3, 4.16666666666666019037e-2],
);

export interface SineAndCosine {
  sine: number;
  cosine: number;
}

/** Of an angle up to 2^26 either way, into `out`. */
export function sineAndCosine(out: SineAndCosine, angle: number): void {
  const n = angle * TWO_OVER_PI + ROUNDING - ROUNDING;
  const x = angle - n * HALF_PI[0] - n * HALF_PI[1] - n * HALF_PI[2] - n * HALF_PI[3];
  const z = x * x;
  let sum = sineSeries[0];
  for (let k = 1; k < sineSeries.length; k++) sum = sum * z + sineSeries[k];
  const sine = x + x * z * sum;
  sum = cosineSeries[0];
  for (let k = 1; k < cosineSeries.length; k++) sum = sum * z + cosineSeries[k];
  const first = 1 - 0.5 * z;
  const cosine = first + (1 - first - 0.5 * z + z * z * sum);
  const isTurned = (n & 1) !== 0;
  out.sine = (n & 2) !== 0 ? -(isTurned ? cosine : sine) : isTurned ? cosine : sine;
  out.cosine = ((n + 1) & 2) !== 0 ? -(isTurned ? sine : cosine) : isTurned ? sine : cosine;
}
