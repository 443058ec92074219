import type { Usage } from "../wire.ts";
import type { MeterReading } from "./meter.ts";

export type ChoiceFinish = "stop" | "length" | "tool_calls";

/** How a request has ended, and what was computed for it. */
export interface GenerationEnd {
  /** `left`: the client has gone; `failed`: it is told an error. */
  readonly outcome: "complete" | "left" | "failed";
  /** By choice; null for one that was cut. */
  readonly finishReasons: readonly (ChoiceFinish | null)[];
  readonly usage: Usage;
  readonly reading: MeterReading;
}
