/** The lower one of an even count: what held a step up says nothing of the next. */
export function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[(values.length - 1) >> 1];
}
