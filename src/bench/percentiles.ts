/** The value below which a share of the values lies, between its neighbours in proportion. */
export function percentile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  const at = share * (sorted.length - 1);
  const low = sorted[Math.floor(at)];
  return low + (sorted[Math.ceil(at)] - low) * (at % 1);
}

export function median(values: readonly number[]): number {
  return percentile(values, 0.5);
}
