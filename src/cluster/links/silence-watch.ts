import type { Clock } from "../clock.ts";

/**
 * Reports a peer that has said nothing for too long, once. Heartbeats of a quarter of the limit
 * leave room for three lost in a row.
 */
export class SilenceWatch {
  readonly #clock: Clock;
  readonly #limit: number;
  readonly #onSilent: () => void;
  #lastHeard: number;
  #cancel: () => void;

  /** `limit` in milliseconds. */
  constructor(clock: Clock, limit: number, onSilent: () => void) {
    this.#clock = clock;
    this.#limit = limit;
    this.#onSilent = onSilent;
    this.#lastHeard = clock.now();
    this.#cancel = this.#check(this.#lastHeard + limit);
  }

  heard(): void {
    this.#lastHeard = this.#clock.now();
  }

  stop(): void {
    this.#cancel();
  }

  /** Looks at the clock at a time, and again when the silence since then would be too long. */
  #check(at: number): () => void {
    return this.#clock.after(Math.max(0, at - this.#clock.now()), () => {
      const now = this.#clock.now();
      const deadline = this.#lastHeard + this.#limit;
      // A watcher that was itself held up first reads what has arrived meanwhile.
      if (now - at > this.#limit / 4) this.#cancel = this.#check(now + this.#limit / 4);
      else if (now < deadline) this.#cancel = this.#check(deadline);
      else this.#onSilent();
    });
  }
}

/** How often to be heard by a peer whose patience is `limit`, both in milliseconds. */
export const heartbeatInterval = (limit: number) => limit / 4;
