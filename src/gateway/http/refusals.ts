import type { Logger } from "pino";
import type { Metrics } from "../telemetry/index.ts";

/** What a client was refused or cut for, because it held too much of the server. */
export type RefusalReason = "bodies_full" | "body_late" | "connections_full" | "unread";

/** Refusals for one reason that come within this are a burst, told once. */
const BURST_MS = 60_000;

/** Counts refusals, and tells the operator of the first of a burst. */
export class Refusals {
  readonly #metrics: Metrics;
  readonly #log: Logger;
  readonly #now: () => number;
  /** When the last one was told, and how many have come since, by reason. */
  readonly #told = new Map<RefusalReason, { readonly at: number; untold: number }>();

  constructor(metrics: Metrics, log: Logger, now: () => number) {
    this.#metrics = metrics;
    this.#log = log;
    this.#now = now;
  }

  readonly note = (reason: RefusalReason): void => {
    this.#metrics.countRefusal(reason);
    const at = this.#now();
    const last = this.#told.get(reason);
    if (last && at - last.at < BURST_MS) {
      last.untold++;
      return;
    }
    this.#log.warn({ reason, since: last?.untold ?? 0 }, "clients hold too much of the server");
    this.#told.set(reason, { at, untold: 0 });
  };
}
