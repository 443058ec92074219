import { randomBytes } from "node:crypto";
import type { Logger } from "pino";
import type { ReasoningField, SamplingDefaults } from "../answer/index.ts";
import type { Accounts } from "../billing/index.ts";
import type { EngineDriver } from "../engine-driver.ts";
import type { Keyring } from "../keys/index.ts";
import type { ClusterView } from "../status/index.ts";
import type { RequestTraces } from "../telemetry/index.ts";
import type { TextWorker } from "../text/index.ts";
import { clientLimits, type ClientLimits } from "./client-limits.ts";
import type { DashboardFiles } from "./dashboard-files.ts";

export interface GatewayOptions {
  readonly engine: EngineDriver;
  readonly text: TextWorker;
  /** The model's names. One that ends in `reasoner` thinks unless told not to. */
  readonly servedNames: readonly string[];
  /** Undefined: anyone may ask. */
  readonly apiKey?: string;
  /** Several keys, instead of one. */
  readonly keyring?: Keyring;
  /** Whether only this machine can reach the server. */
  readonly listensLocally?: boolean;
  /** Names of the server beside this machine's own; only asked for without a key. */
  readonly allowedHosts?: readonly string[];
  /** Whose pages may read answers; `*` is anybody's. */
  readonly allowedOrigins?: readonly string[];
  /** Fields that nobody knows are refused. */
  readonly strict?: boolean;
  /** Where thoughts are told; DeepSeek's `reasoning_content` by default. */
  readonly reasoningField?: ReasoningField;
  /** What generation_config.json recommends. */
  readonly sampling?: SamplingDefaults;
  /** Sequences that may wait; more are refused with 429. */
  readonly queueLimit?: number;
  readonly limits?: ClientLimits;
  readonly keepAliveMs?: number;
  /** Undefined: nothing is billed. */
  readonly accounts?: Accounts;
  /** The ranks that a status tells of; one that is the whole engine where nothing is given. */
  readonly cluster?: ClusterView;
  /** Undefined: there is no page. */
  readonly dashboard?: DashboardFiles;
  readonly log?: Logger;
  /** Undefined: no request is traced. */
  readonly traces?: RequestTraces;
  /** What serves, as metrics tell of it. */
  readonly build?: Readonly<Record<string, string>>;
  /** Milliseconds since 1970. */
  readonly now?: () => number;
  readonly randomBytes?: (count: number) => Uint8Array;
}

type Defaulted =
  | "listensLocally"
  | "allowedHosts"
  | "allowedOrigins"
  | "strict"
  | "reasoningField"
  | "sampling"
  | "queueLimit"
  | "limits"
  | "keepAliveMs"
  | "now"
  | "randomBytes";
export type Settings = GatewayOptions & Required<Pick<GatewayOptions, Defaulted>>;

export const defaults: Pick<Settings, Defaulted> = {
  reasoningField: "reasoning_content",
  listensLocally: true,
  allowedHosts: [],
  allowedOrigins: [],
  strict: false,
  sampling: {},
  queueLimit: 256,
  limits: clientLimits,
  keepAliveMs: 10_000,
  now: Date.now,
  randomBytes,
};
