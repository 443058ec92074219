/** Sleeps until a time and rings, over and over, whenever it is given another. */
import { workerData } from "node:worker_threads";

/** What the thread and whom it wakes both see. */
export interface TimerMemory {
  /** How often a time was set, and how often it has rung. */
  readonly words: Int32Array;
  /** Nanoseconds of the monotonic clock. */
  readonly wakeAt: BigInt64Array;
}

const { words, wakeAt } = workerData as TimerMemory;

for (;;) {
  const set = Atomics.load(words, 0);
  // Before a time was set for the first time.
  if (set === 0) {
    Atomics.wait(words, 0, 0);
    continue;
  }
  const left = Number(Atomics.load(wakeAt, 0) - process.hrtime.bigint()) / 1e6;
  if (left > 0 && Atomics.wait(words, 0, set, left) !== "timed-out") continue;
  Atomics.add(words, 1, 1);
  Atomics.notify(words, 1);
  Atomics.wait(words, 0, set);
}
