import type { Clock, Transport } from "../../cluster/index.ts";
import type { ContextCacheOptions } from "../../kv-cache/index.ts";
import type { Model } from "../../model/index.ts";
import type { Speculation } from "../speculation/index.ts";
import type { Sequence } from "./sequence.ts";
import type { UnitClock } from "./unit.ts";

/** Who computes a step, and where its KV lies: a model, or a script of one. */
export type StepComputer = Pick<
  Model,
  "config" | "maxRows" | "tracer" | "createKvPool" | "choose"
> &
  Partial<Pick<Model, "mtp">>;

export interface CoreOptions {
  readonly model: StepComputer;
  /** KV pages of the rank. */
  readonly pages: number;
  /** Prompt and generated tokens together: at most, and by default, what the model and pages hold. */
  readonly maxModelLen?: number;
  /** Of a rank whose unit shares its experts. */
  readonly unit?: UnitClock;
  /** Of a rank that hands sequences over to others, or takes them. */
  readonly transport?: Transport;
  /** Tokens from here on are never generated: rows of the vocabulary that no token uses. */
  readonly usableTokens?: number;
  /** Where blocks are kept outside the rank's pool; nowhere if not given. */
  readonly contextCache?: Omit<ContextCacheOptions, "kv" | "pages">;
  /** By which masks are late. */
  readonly clock?: Clock;
  /** Proposes tokens to compute along with a sequence's last; those that the choices confirm stand. */
  readonly speculation?: Speculator;
}

/** Who proposes tokens, and hears what came of it. */
export type Speculator = Pick<Speculation<Sequence>, "propose" | "endPass" | "learn" | "endStep">;
