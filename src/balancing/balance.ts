/** The heaviest part over the mean: 1 where all are equal, and where there is nothing to carry. */
export function maxOverMean(values: readonly number[]): number {
  let max = 0;
  let sum = 0;
  for (const value of values) {
    max = Math.max(max, value);
    sum += value;
  }
  return sum === 0 ? 1 : (max * values.length) / sum;
}
