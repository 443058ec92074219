import type { UnitClock } from "./unit.ts";

/**
 * Whether a rank that has nothing to compute is called to a step of its unit; false when it is woken by what
 * `onWake` is given.
 */
export async function waitForWork(
  unit: UnitClock | undefined,
  onWake: (wake: () => void) => void,
): Promise<boolean> {
  const left = new AbortController();
  const woken = new Promise<boolean>((resolve) => onWake(() => resolve(false)));
  const called = unit?.called(left.signal).then(() => true);
  const isCalled = await (called ? Promise.race([woken, called]) : woken);
  left.abort();
  return isCalled;
}
