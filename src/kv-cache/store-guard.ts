import { afterAwake, type Clock } from "../cluster/index.ts";

export interface GuardOptions {
  /** What is guarded, as its operations are called in a reason: `reads`. */
  readonly operations: string;
  /** Milliseconds after which an operation is given up. */
  readonly deadlineMs: number;
  /** Operations that may be unsettled at once, those given up included: bounds their memory. */
  readonly maxOpen: number;
  readonly clock: Clock;
}

/** Operations in a row without an answer after which a store is bypassed. */
const PATIENCE = 3;
/** Milliseconds until a bypassed store is tried again, by one operation: twice as many after each, up to a bound. */
const FIRST_RETRY_MS = 1000;
const LAST_RETRY_MS = 16_000;

/**
 * Stands between a rank and a store that may be slow, hung or broken (a circuit breaker): every
 * operation has an answer, or none, within the deadline; a store that keeps giving none is bypassed,
 * and tried again now and then.
 */
export class StoreGuard {
  readonly #options: GuardOptions;
  #late = 0;
  #failed = 0;
  #skipped = 0;
  /** Not settled, whether given up or not. */
  #open = 0;
  #troubles = 0;
  #bypassed:
    | { readonly reason: string; readonly retryMs: number; readonly since: number }
    | undefined;
  #isTrying = false;

  constructor(options: GuardOptions) {
    this.#options = options;
  }

  /** Operations that were given up. */
  get late(): number {
    return this.#late;
  }

  /** Operations that the store rejected. */
  get failed(): number {
    return this.#failed;
  }

  /** Operations that were not begun. */
  get skipped(): number {
    return this.#skipped;
  }

  /** Why the store is bypassed, while it is. */
  get bypassed(): string | undefined {
    return this.#bypassed?.reason;
  }

  /** Whether an operation would be begun now. */
  get admits(): boolean {
    const { clock, maxOpen } = this.#options;
    if (this.#open >= maxOpen) return false;
    if (!this.#bypassed) return true;
    const { since, retryMs } = this.#bypassed;
    return !this.#isTrying && clock.now() - since >= retryMs;
  }

  /** What the operation resolves to; undefined if it is not begun, rejects or is late. */
  async run<T>(operation: () => Promise<T>): Promise<T | undefined> {
    if (!this.admits) {
      this.#skipped++;
      return undefined;
    }
    const isTrial = this.#bypassed !== undefined;
    this.#isTrying ||= isTrial;
    this.#open++;
    const { deadlineMs, clock } = this.#options;
    return new Promise((resolve) => {
      let isOver = false;
      const end = (trouble: string | undefined, value?: T) => {
        if (isOver) return;
        isOver = true;
        stopTimer();
        this.#note(trouble, isTrial);
        resolve(value);
      };
      const stopTimer = afterAwake(clock, deadlineMs, () => {
        if (!isOver) this.#late++;
        end(`given up after ${deadlineMs} ms`);
      });
      operation()
        .finally(() => this.#open--)
        .then(
          (value) => end(undefined, value),
          (error: Error) => {
            if (!isOver) this.#failed++;
            end(error.message);
          },
        );
    });
  }

  /** An answer ends the bypass; `trouble` says why there was none. Of those begun before it only answers count. */
  #note(trouble: string | undefined, isTrial: boolean): void {
    if (isTrial) this.#isTrying = false;
    this.#troubles = trouble === undefined ? 0 : this.#troubles + 1;
    const { operations, clock } = this.#options;
    const before = this.#bypassed;
    if (trouble === undefined) this.#bypassed = undefined;
    else if (before && isTrial) {
      const retryMs = Math.min(2 * before.retryMs, LAST_RETRY_MS);
      this.#bypassed = { ...before, retryMs, since: clock.now() };
    } else if (!before && this.#troubles >= PATIENCE) {
      const reason = `${PATIENCE} ${operations} in a row failed, the last: ${trouble}`;
      this.#bypassed = { reason, retryMs: FIRST_RETRY_MS, since: clock.now() };
    }
  }
}
