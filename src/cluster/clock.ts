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
 * Calls back after some milliseconds, a deadline of somebody else. A process that was held up, as on a machine
 * that slept, hears its clock before what has come meanwhile, and the other may have been held up with it: it
 * waits a quarter longer.
 */
export function afterAwake(clock: Clock, milliseconds: number, callback: () => void): () => void {
  const grace = milliseconds / 4;
  const wait = (left: number) => {
    const due = clock.now() + left;
    return clock.after(left, () => {
      if (clock.now() - due > grace) cancel = wait(grace);
      else callback();
    });
  };
  let cancel = wait(milliseconds);
  return () => cancel();
}

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
    const cancel = afterAwake(clock, milliseconds, () => reject(late()));
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
