import { systemClock, type Clock } from "../cluster/index.ts";

/**
 * File operations that a process may have at the same time, all its ranks together. On a dead mount an
 * operation occupies one of the four threads that Node has for files, hashes and name look-ups; the
 * fourth is left to everybody else.
 */
const PERMITS = 3;
/** Milliseconds between two looks for permits that other ranks return: from the first to the last. */
const POLL_MS = { first: 1, last: 100 } as const;

/** What the ranks of a process share to keep to their number of permits. */
export const createPermits = () => new SharedArrayBuffer(4 * PERMITS);

/** One holder's way to the permits: a rank's. */
export class FilePermits {
  /** [PERMITS]: whose each is, from 1; 0: free. */
  readonly #owners: Int32Array;
  readonly #holder: number;
  readonly #clock: Clock;
  /** In their order. */
  readonly #waiting: ((permit: number) => void)[] = [];
  #isPolling = false;
  #pollMs: number = POLL_MS.first;

  constructor(shared = createPermits(), holder = 0, clock = systemClock) {
    this.#owners = new Int32Array(shared);
    this.#holder = holder + 1;
    this.#clock = clock;
  }

  /** Runs an operation while it holds a permit. */
  async run<T>(operation: () => Promise<T>): Promise<T> {
    const permit = await this.#take();
    try {
      return await operation();
    } finally {
      Atomics.store(this.#owners, permit, 0);
      // A turn later, so that other ranks have a chance too.
      setImmediate(() => this.#serve());
    }
  }

  /** For a holder that has ended and cannot return what it held. */
  returnAll(): void {
    for (let permit = 0; permit < PERMITS; permit++) {
      Atomics.compareExchange(this.#owners, permit, this.#holder, 0);
    }
  }

  #take(): Promise<number> {
    return new Promise((resolve) => {
      this.#waiting.push(resolve);
      this.#serve();
    });
  }

  /** Gives free permits to those who wait; asks again later while somebody does. */
  #serve(): void {
    for (let permit = 0; permit < PERMITS && this.#waiting.length > 0; permit++) {
      if (Atomics.compareExchange(this.#owners, permit, 0, this.#holder) !== 0) continue;
      this.#waiting.shift()?.(permit);
      this.#pollMs = POLL_MS.first;
    }
    if (this.#waiting.length === 0 || this.#isPolling) return;
    this.#isPolling = true;
    // Node does not wake a thread that sleeps in `Atomics.waitAsync`.
    this.#clock.after(this.#pollMs, () => {
      this.#isPolling = false;
      this.#serve();
    });
    this.#pollMs = Math.min(2 * this.#pollMs, POLL_MS.last);
  }
}
