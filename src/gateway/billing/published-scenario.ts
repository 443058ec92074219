/**
 * What the published day might really have earned. DeepSeek names the causes, not their sizes: "V3's prices
 * are lower than R1's, only a subset of services are monetized (web and APP access remain free), and
 * nighttime discounts are applied". The shares here are assumed.
 */
import type { LedgerRecord, RequestRecord } from "./ledger-record.ts";
import { charge } from "./money.ts";
import type { PriceBook } from "./price-book.ts";
import {
  publishedDay,
  publishedHourlyIncome,
  publishedNoon,
  publishedPriceModel,
} from "./published-day.ts";

const HALF_HOUR_MS = 1_800_000;
const WEB_AND_APP = "web and app";

/** Assumed: of all tokens those of DeepSeek-V3, and of each model's those of the web and the app. */
export const assumedShares = { v3: 0.5, free: 0.5 } as const;

/** The published day again, its tokens spread over the day as its income was, and over models and payers as assumed. */
export function* publishedScenario(
  prices: PriceBook,
  shares: { readonly v3: number; readonly free: number } = assumedShares,
): Generator<LedgerRecord> {
  for (const record of publishedDay()) {
    if (record.kind === "request") yield* spread(record, prices, shares);
    else yield record;
  }
}

function* spread(
  whole: RequestRecord,
  prices: PriceBook,
  { v3, free }: { readonly v3: number; readonly free: number },
): Generator<RequestRecord> {
  const traffic = [
    { tenant: "api", model: publishedPriceModel, share: (1 - v3) * (1 - free) },
    { tenant: "api", model: "deepseek-chat", share: v3 * (1 - free) },
    { tenant: WEB_AND_APP, model: publishedPriceModel, share: (1 - v3) * free },
    { tenant: WEB_AND_APP, model: "deepseek-chat", share: v3 * free },
  ];
  const halfHours = publishedHourlyIncome.flatMap((income) => [income / 2, income / 2]);
  const income = halfHours.reduce((sum, part) => sum + part, 0);
  let before = 0;
  for (const [halfHour, part] of halfHours.entries()) {
    const time = publishedNoon + halfHour * HALF_HOUR_MS;
    for (const { tenant, model, share } of traffic) {
      const upTo = before + (part / income) * share;
      const tokens = tokensBetween(whole.tokens, before, upTo);
      before = upTo;
      const price = prices.priceAt(model, time);
      const billing: RequestRecord["billing"] =
        tenant === WEB_AND_APP
          ? { kind: "unbilled", reason: "tenant" }
          : { kind: "billed", price, picodollars: charge(tokens, price.rates) };
      yield { ...whole, time, tenant, model, tokens, billing };
    }
  }
}

/** A stretch of the day's tokens: what lies between two shares of them, in whole tokens that add up. */
function tokensBetween(
  tokens: RequestRecord["tokens"],
  from: number,
  to: number,
): RequestRecord["tokens"] {
  const between = (count: number) => Math.round(count * to) - Math.round(count * from);
  const { hit, miss, output, reasoning } = tokens;
  return {
    ...{ hit: between(hit), miss: between(miss) },
    ...{ output: between(output), reasoning: between(reasoning) },
  };
}
