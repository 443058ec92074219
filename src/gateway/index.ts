export { askServer, firstModel, serverEvents, type Server } from "./api-client.ts";
export { Accounts } from "./accounts.ts";
export { viewCluster } from "./cluster-view.ts";
export { DashboardFiles } from "./dashboard-files.ts";
export { defaultPrices } from "./deepseek-prices.ts";
export type { EngineDriver } from "./engine-driver.ts";
export { Gateway, type GatewayOptions } from "./gateway.ts";
export { instant } from "./instant.ts";
export type { LedgerRecord } from "./ledger-record.ts";
export { Ledger } from "./ledger.ts";
export {
  charge,
  exactDollars,
  parseDollars,
  roundedDollars,
  totalOf,
  type Picodollars,
} from "./money.ts";
export { PriceBook } from "./price-book.ts";
export {
  publishedAcceleratorHour,
  publishedDay,
  publishedFigures,
  publishedPriceModel,
} from "./published-day.ts";
export { readLedger } from "./read-ledger.ts";
export { reportOn, type Report, type ReportOptions } from "./report.ts";
export type { SamplingDefaults } from "./sampling.ts";
export { serveGateway, type RunningServer } from "./serve.ts";
