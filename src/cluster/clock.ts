/** Time as an argument, so that tests of failures need not wait for them. */
export interface Clock {
  /** Milliseconds from an arbitrary start; never goes back. */
  now(): number;
  /** Calls back once after some milliseconds, unless the returned function was called before. */
  after(milliseconds: number, callback: () => void): () => void;
  /** Calls back once what waits for the caller to return has had its turn. */
  soon(callback: () => void): void;
}

export const systemClock: Clock = {
  now: () => performance.now(),
  after(milliseconds, callback) {
    const timer = setTimeout(callback, milliseconds);
    return () => clearTimeout(timer);
  },
  soon: (callback) => void setImmediate(callback),
};

/**
 * What `work` resolves to. If that takes longer, rejects with what `late` returns; nobody hears how the
 * work ends.
 */
export function inTime<T>(
  work: Promise<T>,
  clock: Clock,
  milliseconds: number,
  late: () => Error,
): Promise<T> {
  return new Promise((resolve, reject) => {
    const cancel = clock.after(milliseconds, () => reject(late()));
    work.finally(cancel).then(resolve, reject);
  });
}

/** Resolves when something has come about or failed, or after some milliseconds. */
export async function settleInTime(
  work: Promise<unknown>,
  clock: Clock,
  milliseconds: number,
): Promise<void> {
  await inTime(work, clock, milliseconds, () => new Error("late")).catch(() => undefined);
}
