export type { ChoiceFinish, GenerationEnd, TimeSums } from "./generation-end.ts";
export { Accounts, costOf } from "./accounts.ts";
export { defaultPrices } from "./deepseek-prices.ts";
export { instant } from "./instant.ts";
export type { LedgerRecord } from "./ledger-record.ts";
export { Ledger } from "./ledger.ts";
export { Meter } from "./meter.ts";
export {
  type BilledTokens,
  charge,
  exactDollars,
  parseDollars,
  type Picodollars,
  rate,
  roundedDollars,
  totalOf,
} from "./money.ts";
export { PriceBook } from "./price-book.ts";
export { assumedShares, publishedScenario } from "./published-scenario.ts";
export {
  publishedAcceleratorHour,
  publishedDay,
  publishedFigures,
  publishedHourlyIncome,
  publishedNoon,
  publishedPriceModel,
} from "./published-day.ts";
export { readLedger } from "./read-ledger.ts";
export { type Report, reportOn, type ReportOptions } from "./report.ts";
export { TokenTally } from "./token-tally.ts";
