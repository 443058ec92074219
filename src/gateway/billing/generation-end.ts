import type { Usage } from "../wire.ts";
import type { MeterReading } from "./meter.ts";

export type ChoiceFinish = "stop" | "length" | "tool_calls";

/** How long a request's sequences took; sums over those that generated a token. */
export interface TimeSums {
  /** Sequences that generated a token. */
  readonly sequences: number;
  /** Milliseconds from admission to first token. */
  readonly firstTokenMs: number;
  /** From first token to last. */
  readonly decodeMs: number;
  /** How often ranks were lost and others went on, and the tokens that these computed again, at the cost of the house. */
  readonly resumed: number;
  readonly recomputedTokens: number;
}

/** How a request has ended, and what was computed for it. */
export interface GenerationEnd {
  /** `left`: the client has gone; `failed`: it is told an error. */
  readonly outcome: "complete" | "left" | "failed";
  /** By choice; null for one that was cut. */
  readonly finishReasons: readonly (ChoiceFinish | null)[];
  readonly usage: Usage;
  readonly reading: MeterReading & TimeSums;
}
