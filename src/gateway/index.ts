export {
  askServer,
  firstModel,
  modelNames,
  chatChunks,
  serverEvents,
  ServerRefusal,
  type ChatChunk,
  type Server,
} from "./http/index.ts";
export { Accounts, costOf } from "./billing/index.ts";
export { Keyring, type NamedKey, readKeysFile } from "./keys/index.ts";
export {
  ContextCacheWatch,
  type Scaling,
  type StatusSnapshot,
  viewCluster,
} from "./status/index.ts";
export { DashboardFiles } from "./http/index.ts";
export { defaultPrices } from "./billing/index.ts";
export type { EngineDriver } from "./engine-driver.ts";
export { Gateway, type GatewayOptions } from "./http/index.ts";
export type { ModelParts } from "./models/index.ts";
export { instant } from "./billing/index.ts";
export type { LedgerRecord } from "./billing/index.ts";
export { Ledger } from "./billing/index.ts";
export {
  charge,
  exactDollars,
  parseDollars,
  roundedDollars,
  totalOf,
  type Picodollars,
} from "./billing/index.ts";
export { PriceBook } from "./billing/index.ts";
export {
  publishedAcceleratorHour,
  publishedDay,
  assumedShares,
  publishedFigures,
  publishedHourlyIncome,
  publishedNoon,
  publishedPriceModel,
  publishedScenario,
} from "./billing/index.ts";
export { readLedger } from "./billing/index.ts";
export { reportOn, type Report, type ReportOptions } from "./billing/index.ts";
export { type ReasoningField, reasoningFields, type SamplingDefaults } from "./answer/index.ts";
export { isLoopback } from "./http/index.ts";
export { serveGateway, type RunningServer } from "./http/index.ts";
export { openTraces, otlpEndpoint } from "./telemetry/index.ts";
export { TextWorker } from "./text/index.ts";
