import type { Logger } from "pino";
import type { ScaleSchedule } from "../balancing/index.ts";
import type { Clock } from "../cluster/index.ts";
import type { Engine, EngineOptions } from "../engine/index.ts";
import type { GatewayOptions, NamedKey, ReasoningField, TextWorker } from "../gateway/index.ts";
import type { ScalePolicy } from "./scale-policy.ts";

/** A model that is to be served. */
export interface ModelOptions {
  readonly engine: EngineOptions;
  /** What it is served as; the folder's name where none is given. */
  readonly names?: readonly string[];
  readonly maxModelLen?: number;
  /** File of a chat template, instead of the checkpoint's own. */
  readonly chatTemplate?: string;
  /** How many units serve, by the clock; undefined: until told. */
  readonly schedule?: ScaleSchedule;
  /** The same, by the load. */
  readonly scalePolicy?: ScalePolicy;
}

export interface ServeOptions {
  /** One at least. */
  readonly models: readonly ModelOptions[];
  readonly host: string;
  readonly port: number;
  readonly apiKey?: string;
  /** Keys that have names and limits; a budget is counted from the ledger. */
  readonly keys?: readonly NamedKey[];
  /** What is decided of requests before they are read. */
  readonly edge?: Pick<GatewayOptions, "allowedHosts" | "allowedOrigins" | "strict">;
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
  /** File for a trace, from the start until the server ends. */
  readonly trace?: string;
  /** When the server looks at its context cache. */
  readonly clock?: Clock;
}

/** A model that is served. */
export interface ServingModel {
  readonly names: readonly string[];
  readonly engine: Engine;
  readonly text: TextWorker;
  /** That says which model it is, where there are several. */
  readonly log: Logger;
  /** As it was asked for. */
  readonly options: EngineOptions;
}

/** A server that listens. */
export interface Serving {
  readonly models: readonly ServingModel[];
  readonly url: string;
}
