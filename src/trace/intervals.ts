/** Half-open: from start to, but not including, end. */
export interface Interval {
  readonly start: number;
  readonly end: number;
}

/** The points that are in any of the intervals, as disjoint intervals in ascending order. */
export function union(intervals: readonly Interval[]): Interval[] {
  const sorted = intervals.filter(({ start, end }) => start < end);
  sorted.sort((a, b) => a.start - b.start);
  const merged: { start: number; end: number }[] = [];
  for (const { start, end } of sorted) {
    const last = merged.at(-1);
    if (last && start <= last.end) last.end = Math.max(last.end, end);
    else merged.push({ start, end });
  }
  return merged;
}

/** The points that are in both unions. */
export function intersect(a: readonly Interval[], b: readonly Interval[]): Interval[] {
  const common: Interval[] = [];
  for (let i = 0, j = 0; i < a.length && j < b.length;) {
    const start = Math.max(a[i].start, b[j].start);
    const end = Math.min(a[i].end, b[j].end);
    if (start < end) common.push({ start, end });
    if (a[i].end < b[j].end) i++;
    else j++;
  }
  return common;
}

/** The points of the first union that are not in the second. */
export function subtract(a: readonly Interval[], b: readonly Interval[]): Interval[] {
  const left: Interval[] = [];
  let j = 0;
  for (const { start, end } of a) {
    let from = start;
    while (j < b.length && b[j].end <= from) j++;
    for (let k = j; k < b.length && b[k].start < end; k++) {
      if (from < b[k].start) left.push({ start: from, end: b[k].start });
      from = Math.max(from, b[k].end);
    }
    if (from < end) left.push({ start: from, end });
  }
  return left;
}

/** Length of a union. */
export function lengthOf(intervals: readonly Interval[]): number {
  return intervals.reduce((sum, { start, end }) => sum + (end - start), 0);
}
