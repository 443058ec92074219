import type { TimedEvent } from "../messages.ts";

/** A request's events in order, for one reader. */
export class EventQueue {
  readonly #events: TimedEvent[] = [];
  #closed = false;
  #wake: (() => void) | undefined;

  push(event: TimedEvent): void {
    this.#events.push(event);
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
