import { median } from "../median.ts";

/** What one more is taken to cost, as a share of the whole, where nothing is known of it. */
const HOPED_SHARE = 0.05;
/** Times that are kept: the median of them is little disturbed by other work now and then. */
const KEPT = 8;
/** After so many measurements nothing is hoped for: the first may take long because they are the first. */
const TRIES = 3;
/** Before so many nothing is decided. */
const ENOUGH = 6;
/** What a clock can tell, in milliseconds. */
const LEAST = 1e-3;
/** After so many measurements of lower counts it may be hoped again. */
const LASTING = 256;

/** What a power of two takes, in milliseconds. */
interface Knot {
  readonly hoped: number;
  /** The last times. */
  readonly times: number[];
  typical: number;
  /** Number of its last measurement. */
  heard: number;
}

/**
 * What a step takes by its rows, or a pass by its sequences: a line from each power of two to the next,
 * measured at any count between them.
 */
export class StepCost {
  readonly #knots: Knot[] = [];
  #measured = 0;

  /** Whether enough has been measured to decide by. */
  get isKnown(): boolean {
    return this.#measured >= ENOUGH;
  }

  /** The most that should be tried: twice what is known, so that a bad guess costs little. */
  get reach(): number {
    if (!this.isKnown) return 0;
    const last = this.#knots.length - 1;
    return isTried(this.#knots[last]) ? 2 ** (last + 1) : 2 ** last;
  }

  /** Whether what a count takes is known, or hoped. */
  knows(count: number): boolean {
    const knot = this.#knots[nearestTo(count)];
    return knot !== undefined && isTried(knot);
  }

  measure(count: number, elapsed: number): void {
    const milliseconds = Math.max(LEAST, elapsed);
    this.#measured++;
    const nearest = nearestTo(count);
    const known = this.#knots.length;
    for (let k = known; k <= nearest; k++) {
      const hoped = known > 0 ? this.of(2 ** k) : milliseconds;
      this.#knots.push({ hoped, times: [], typical: hoped, heard: this.#measured });
    }
    const knot = this.#knots[nearest];
    knot.heard = this.#measured;
    while (this.#measured - this.#knots[this.#knots.length - 1].heard > LASTING) this.#knots.pop();
    knot.times.push((milliseconds / this.of(count)) * knot.typical);
    if (knot.times.length > KEPT) knot.times.shift();
    const middle = median(knot.times);
    knot.typical = isTried(knot) ? middle : Math.min(knot.hoped, middle);
  }

  /** Milliseconds: between two powers of two on the line between them, or on the last line. */
  of(count: number): number {
    const last = this.#knots.length - 1;
    if (last < 0) return 1;
    const below = Math.min(31 - Math.clz32(count), last);
    const low = this.#knots[below];
    const more = count - (1 << below);
    if (below < last) {
      return low.typical + ((this.#knots[below + 1].typical - low.typical) * more) / (1 << below);
    }
    const before = last > 0 ? this.#knots[last - 1] : undefined;
    const slope = before?.times.length
      ? Math.max(0, low.typical - before.typical) / 2 ** (last - 1)
      : HOPED_SHARE * low.typical;
    return low.typical + slope * more;
  }
}

/** The power of two. */
const nearestTo = (count: number): number => Math.round(Math.log2(count));

const isTried = ({ times }: Knot): boolean => times.length >= TRIES;
