/** 2^-n for n from 0 to 1022: halving is exact. */
const powers = new Float64Array(1023);
for (let n = 0, power = 1; n < powers.length; n++, power /= 2) powers[n] = power;

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

/**
 * e^x for x up to 0, to about one unit in the last place; 0 below −708, before denormals begin. Sums
 * and products alone, so that native/exponential.h has the same bits on every machine; nobody
 * promises that of Math.exp.
 */
export function exponential(x: number): number {
  if (x < -708) return 0;
  const n = x * Math.LOG2E + ROUNDING - ROUNDING;
  const rest = x - n * LN2_HIGH - n * LN2_LOW;
  let sum = series[0];
  for (let k = 1; k < series.length; k++) sum = sum * rest + series[k];
  return sum * powers[-n];
}
