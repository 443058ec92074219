import type { TimedEvent } from "../messages.ts";

/**
 * A request's events in order, for one reader. The ranks that compute it speak on ways of their own,
 * so what the decode rank says waits for the first token, which the prefill rank says last.
 */
export class EventQueue {
  readonly #events: TimedEvent[] = [];
  /** The decode rank's, while the first token is still to come. */
  #early: TimedEvent[] | undefined;
  readonly #decodeRank: number | undefined;
  #closed = false;
  #wake: (() => void) | undefined;

  constructor(decodeRank?: number) {
    this.#decodeRank = decodeRank;
    if (decodeRank !== undefined) this.#early = [];
  }

  /** An event of a rank, or of none: the end of all. */
  push(event: TimedEvent, rank?: number): void {
    if (this.#early && rank !== undefined && rank === this.#decodeRank) {
      this.#early.push(event);
      return;
    }
    this.#events.push(event);
    if (event.kind === "token" && this.#early) {
      this.#events.push(...this.#early);
      this.#early = undefined;
    }
    this.#wake?.();
  }

  close(): void {
    this.#closed = true;
    this.#wake?.();
  }

  /** The next event, or undefined once closed. */
  async next(): Promise<TimedEvent | undefined> {
    while (!this.#closed) {
      const event = this.#events.shift();
      if (event) return event;
      await new Promise<void>((resolve) => (this.#wake = resolve));
    }
    return undefined;
  }
}
