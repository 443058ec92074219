import { publishedHourlyIncome } from "../../gateway/index.ts";

const hours = publishedHourlyIncome;
const mean = hours.reduce<number>((sum, income) => sum + income, 0) / hours.length;

/**
 * Demand at an hour of the published day, which begins at noon, as a share of the mean: hours' incomes,
 * joined by straight lines.
 */
export function shareAt(hour: number): number {
  const at = hour - 0.5;
  const [before, part] = [Math.floor(at), at - Math.floor(at)];
  const income = (each: number) => hours[((each % 24) + 24) % 24];
  return ((1 - part) * income(before) + part * income(before + 1)) / mean;
}

/** The busiest hour. */
export const busiestShare = Math.max(...hours) / mean;
