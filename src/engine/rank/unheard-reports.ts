/** Reports that may be on their way before a rank waits for those who read them. */
const MOST = 2;

/**
 * Holds a rank back that is faster than its readers: their thread would else fill up with reports, and
 * whatever it decides, to stop a sequence say, would come late.
 */
export class UnheardReports {
  #count = 0;
  #resume: (() => void) | undefined;

  sent(): void {
    this.#count++;
  }

  heard(): void {
    this.#count--;
    this.#resume?.();
  }

  /** Resolves when another report may be sent; undefined if it may be now. */
  room(): Promise<void> | undefined {
    if (this.#count < MOST) return undefined;
    return new Promise<void>((resolve) => (this.#resume = resolve));
  }
}
