import { randomBytes } from "node:crypto";
import type { Logger } from "pino";
import type { ReasoningField } from "../answer/index.ts";
import type { Accounts } from "../billing/index.ts";
import type { Keyring } from "../keys/index.ts";
import type { ModelParts } from "../models/index.ts";
import type { RequestTraces } from "../telemetry/index.ts";
import { clientLimits, type ClientLimits } from "./client-limits.ts";
import type { DashboardFiles } from "./dashboard-files.ts";

export interface GatewayOptions {
  /** One at least, and no name twice. */
  readonly models: readonly ModelParts[];
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
  /** Sequences that may wait, of all models together; more are refused with 429. */
  readonly queueLimit?: number;
  readonly limits?: ClientLimits;
  readonly keepAliveMs?: number;
  /** Undefined: nothing is billed. */
  readonly accounts?: Accounts;
  /** Undefined: there is no page. */
  readonly dashboard?: DashboardFiles;
  readonly log?: Logger;
  /** Undefined: no request is traced. */
  readonly traces?: RequestTraces;
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
  queueLimit: 256,
  limits: clientLimits,
  keepAliveMs: 10_000,
  now: Date.now,
  randomBytes,
};
