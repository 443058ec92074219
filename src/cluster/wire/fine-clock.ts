import { Worker } from "node:worker_threads";
import { type Clock, systemClock } from "../clock.ts";
import type { TimerMemory } from "./timer-thread.ts";

/** A clock whose timers hold a thread until closed. */
export interface FineClock extends Clock {
  close(): void;
}

interface Timer {
  readonly at: number;
  readonly callback: () => void;
}

/** Woken for one timer, the next ones within so many milliseconds are due too. */
const TOGETHER_MS = 0.03;

/** As late as a thread wakes that has a core. */
const LATEST_MS = 0.2;

/**
 * Timers of some tens of microseconds, where Node's have a millisecond: a thread of its own sleeps until
 * the first is due, and burns nothing. How late it usually wakes is learnt, and it is asked to wake so
 * much earlier.
 */
export function fineClock(): FineClock {
  return new ThreadClock();
}

class ThreadClock implements FineClock {
  readonly #memory: TimerMemory = {
    words: new Int32Array(new SharedArrayBuffer(8)),
    wakeAt: new BigInt64Array(new SharedArrayBuffer(8)),
  };
  readonly #thread: Worker;
  /** By time, and in the order set where times are equal. */
  readonly #timers: Timer[] = [];
  #lateness = 0;
  #listens = false;

  constructor() {
    this.#thread = new Worker(new URL("./timer-thread.js", import.meta.url), {
      workerData: this.#memory,
    });
    this.#thread.unref();
  }

  now(): number {
    return Number(process.hrtime.bigint()) / 1e6;
  }

  after(milliseconds: number, callback: () => void): () => void {
    const timer = { at: this.now() + milliseconds, callback };
    const place = this.#timers.findLastIndex(({ at }) => at <= timer.at) + 1;
    this.#timers.splice(place, 0, timer);
    // Before the thread can ring.
    if (!this.#listens) void this.#listen();
    if (place === 0) this.#wakeForFirst();
    return () => {
      const index = this.#timers.indexOf(timer);
      if (index >= 0) this.#timers.splice(index, 1);
    };
  }

  soon(callback: () => void): void {
    systemClock.soon(callback);
  }

  close(): void {
    this.#timers.splice(0);
    void this.#thread.terminate();
  }

  #wakeForFirst(): void {
    const [first] = this.#timers;
    if (!first) return;
    const { words, wakeAt } = this.#memory;
    // Woken too early, the thread is asked for the time itself: it must not ring over and over until then.
    const early = first.at - this.#lateness;
    const at = early > this.now() ? early : first.at;
    Atomics.store(wakeAt, 0, BigInt(Math.round(at * 1e6)));
    Atomics.add(words, 0, 1);
    Atomics.notify(words, 0);
  }

  /** Calls back whenever the thread rings, until no timer is left. */
  async #listen(): Promise<void> {
    const { words, wakeAt } = this.#memory;
    this.#listens = true;
    let heard = Atomics.load(words, 1);
    while (this.#timers.length > 0) {
      await Atomics.waitAsync(words, 1, heard).value;
      heard = Atomics.load(words, 1);
      const late = this.now() - Number(Atomics.load(wakeAt, 0)) / 1e6;
      // A thread or an event loop that was held up says nothing of the next time.
      if (late > 0 && late < LATEST_MS) this.#lateness += (late - this.#lateness) / 16;
      this.#callDue();
      this.#wakeForFirst();
    }
    this.#listens = false;
  }

  #callDue(): void {
    while (this.#timers.length > 0 && this.#timers[0].at <= this.now() + TOGETHER_MS) {
      this.#timers.shift()?.callback();
    }
  }
}
