import type { Logger } from "pino";
import type { ScaleSchedule } from "../balancing/index.ts";
import type { Clock } from "../cluster/index.ts";
import type { Engine, EngineOptions } from "../engine/index.ts";
import type { GatewayOptions, NamedKey, ReasoningField } from "../gateway/index.ts";
import type { ScalePolicy } from "./scale-policy.ts";

export interface ServeOptions {
  readonly engine: EngineOptions;
  readonly host: string;
  readonly port: number;
  readonly apiKey?: string;
  /** Keys that have names and limits; a budget is counted from the ledger. */
  readonly keys?: readonly NamedKey[];
  /** What is decided of requests before they are read. */
  readonly edge?: Pick<GatewayOptions, "allowedHosts" | "allowedOrigins" | "strict">;
  /** The folder's name where none is given. */
  readonly servedNames?: readonly string[];
  readonly maxModelLen?: number;
  /** File of a chat template, instead of the checkpoint's own. */
  readonly chatTemplate?: string;
  readonly reasoningField?: ReasoningField;
  /** File that requests are billed in. */
  readonly ledger?: string;
  /** File of the prices; the built-in ones where none is given. */
  readonly prices?: string;
  readonly log: Logger;
  /** `json`: all that the server says is lines of JSON. */
  readonly logFormat?: "text" | "json" | undefined;
  /** Where OpenTelemetry's traces of requests go; nowhere if undefined. */
  readonly otlp?: string | undefined;
  /** Units move experts where that pays. */
  readonly balancesItself?: boolean;
  /** How many units serve, by the clock; undefined: until told. */
  readonly schedule?: ScaleSchedule;
  /** The same, by the load. */
  readonly scalePolicy?: ScalePolicy;
  /** File for a trace, from the start until the server ends. */
  readonly trace?: string;
  /** When the server looks at its context cache. */
  readonly clock?: Clock;
}

/** A server that listens. */
export interface Serving {
  readonly engine: Engine;
  readonly url: string;
  readonly names: readonly string[];
}
