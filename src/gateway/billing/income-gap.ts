import type { RequestRecord } from "./ledger-record.ts";
import { charge, totalOf, type Picodollars } from "./money.ts";
import type { PriceBook } from "./price-book.ts";

/** Why theoretical income is more than what was billed, as DeepSeek names it; the parts add up to the difference. */
export interface IncomeGap {
  /** Models that cost less than the one in whose price theoretical income is reckoned. */
  readonly modelPrices: Picodollars;
  /** Requests that cost nothing: of the web and the app by their keys, and those that failed. */
  readonly unbilledTraffic: Picodollars;
  /** Hours of the day with prices of their own: DeepSeek's nights. */
  readonly discounts: Picodollars;
}

export const noGap: IncomeGap = { modelPrices: 0n, unbilledTraffic: 0n, discounts: 0n };

/**
 * A request's part of it.
 * @param prices tells a model's price outside the window in which the request was billed
 * @throws PriceBookError when it has none
 */
export function gapOf(
  { time, model, tokens, billing }: RequestRecord,
  theoretical: Picodollars,
  prices: PriceBook,
): IncomeGap {
  if (billing.kind === "unbilled") return { ...noGap, unbilledTraffic: theoretical };
  const billed = totalOf(billing.picodollars);
  const standard =
    billing.price.window === null
      ? billed
      : totalOf(charge(tokens, prices.standardPriceAt(model, time).rates));
  return { ...noGap, modelPrices: theoretical - standard, discounts: standard - billed };
}

export function addGaps(a: IncomeGap, b: IncomeGap): IncomeGap {
  return {
    modelPrices: a.modelPrices + b.modelPrices,
    unbilledTraffic: a.unbilledTraffic + b.unbilledTraffic,
    discounts: a.discounts + b.discounts,
  };
}
