import type { Clock } from "../../cluster/index.ts";
import type { StepPart } from "./scheduler.ts";
import type { Sequence } from "./sequence.ts";

/** A mask that takes longer than the step by so much is waited for outside of steps from then on. */
const LATE_MS = 20;
/** Those who share the step wait no longer. */
const LONGEST_MS = 5000;

/** What masks need of a rank. */
export interface MaskedRank {
  isLive(sequence: Sequence): boolean;
  /** A sequence whose mask does not come. */
  fail(sequence: Sequence, message: string): void;
}

/** Has the tokens of constrained sequences chosen of those that their masks allow. */
export class Masks {
  readonly #clock: Clock;
  readonly #rank: MaskedRank;
  #changed: () => void = () => undefined;

  constructor(clock: Clock, rank: MaskedRank) {
    this.#clock = clock;
    this.#rank = rank;
  }

  /** A mask has come, or a sequence has gone. */
  changed(): void {
    this.#changed();
  }

  /** Waits for the masks of a step's constrained rows, which were asked for when it began. */
  async applyTo(parts: readonly StepPart[]): Promise<void> {
    const constrained = parts
      .filter(({ sequence, logitRows }) => sequence.isConstrained && logitRows.length > 0)
      .map(({ sequence }) => sequence);
    const missing = () =>
      constrained.filter((sequence) => sequence.lacksMask && this.#rank.isLive(sequence));
    if (missing().length > 0) await this.#wait(missing);
    for (const sequence of constrained) sequence.applyMask();
  }

  async #wait(missing: () => readonly Sequence[]): Promise<void> {
    const timers = [
      this.#clock.after(LATE_MS, () => {
        for (const sequence of missing()) sequence.hasLateMasks = true;
      }),
      this.#clock.after(LONGEST_MS, () => {
        const message = `no word within ${LONGEST_MS} ms of which tokens may come next`;
        for (const sequence of missing()) this.#rank.fail(sequence, message);
        this.#changed();
      }),
    ];
    while (missing().length > 0) await new Promise<void>((resolve) => (this.#changed = resolve));
    for (const cancel of timers) cancel();
  }
}
