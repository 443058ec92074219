import { median } from "../median.ts";

/** Steps whose median is the pace: it follows a change within half of them, and no single step's. */
const STEPS = 5;

/**
 * How much longer steps take at present than they did when their costs were measured, because of other work
 * on the machine. What takes twice the time everywhere is no news of what is worth what.
 */
export class Pace {
  readonly #last: number[] = [];
  #median = 1;

  /** A step took so many times what it was known to take. */
  measure(factor: number): void {
    this.#last.push(factor);
    if (this.#last.length > STEPS) this.#last.shift();
    this.#median = median(this.#last);
  }

  /** Milliseconds as they would have been at pace 1. */
  evened(milliseconds: number): number {
    return milliseconds / this.#median;
  }
}
