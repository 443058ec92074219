import { afterAwake, type Clock } from "../../cluster/index.ts";
import type { TokenChoice, TokenMask } from "../../kernels/index.ts";
import { chainsOf, type MaskColumns } from "../mask-columns.ts";
import { waitFor, type Tracer } from "../../trace/index.ts";
import type { StepPart } from "./scheduler.ts";
import type { Sequence } from "./sequence.ts";

/** A mask that takes longer than the step by so much is waited for outside of steps, until one is faster. */
const LATE_MS = 20;
/** Those who share the step wait no longer. */
const LONGEST_MS = 5000;

/** What masks need of a rank. */
export interface MaskedRank {
  /** Undefined once it is over. */
  find(handle: number): Sequence | undefined;
  /** A sequence whose mask does not come. */
  fail(sequence: Sequence, message: string): void;
}

/** Of each step's constrained sequences, the tokens that are guessed to come, as a message tells them. */
export function guessesOf(parts: readonly StepPart[]): Uint32Array {
  return Uint32Array.from(
    parts.flatMap(({ sequence, proposed }) => {
      if (!sequence.isConstrained || proposed.length === 0) return [];
      if (sequence.maskAfter(sequence.followedBy(proposed))) return [];
      return [sequence.handle, sequence.tokens.length, proposed.length, ...proposed];
    }),
  );
}

/** Has the tokens of constrained sequences chosen of those that their masks allow. */
export class Masks {
  readonly #clock: Clock;
  readonly #tracer: Tracer;
  readonly #rank: MaskedRank;
  /** Masks that were told, by their slot, until another is told there. */
  readonly #told: TokenMask[] = [];
  #changed: () => void = () => undefined;

  constructor(clock: Clock, tracer: Tracer, rank: MaskedRank) {
    this.#clock = clock;
    this.#tracer = tracer;
    this.#rank = rank;
  }

  /** @throws RangeError for a slot in which no mask was told */
  hear(masks: MaskColumns): void {
    for (const { handle, position, places } of chainsOf(masks)) {
      const told = places.map(({ after, slot, allowed }) => ({
        after,
        mask: allowed ? (this.#told[slot] = allowed) : this.#find(slot),
      }));
      const sequence = this.#rank.find(handle);
      if (!sequence) continue;
      sequence.allow(position, told);
      if (this.#clock.now() - sequence.maskWantedAt < LATE_MS) sequence.hasLateMasks = false;
    }
    this.changed();
  }

  #find(slot: number): TokenMask {
    const mask = this.#told[slot];
    if (!mask) throw new RangeError(`expected a mask that was told, got slot ${slot}`);
    return mask;
  }

  /** A mask has come, or a sequence has gone. */
  changed(): void {
    this.#changed();
  }

  /** Whether any of a step's rows is constrained. */
  concern(parts: readonly StepPart[]): boolean {
    return parts.some(isConstrained);
  }

  /**
   * A step's choices with the masks of its constrained rows, which were asked for when it began. It is waited
   * for what may come next; what may follow guesses is known by then or not.
   */
  async settled(
    parts: readonly StepPart[],
    choices: readonly TokenChoice[],
  ): Promise<readonly TokenChoice[]> {
    const constrained = parts.filter(isConstrained).map(({ sequence }) => sequence);
    const missing = () =>
      constrained.filter(
        (sequence) => sequence.lacksMask && this.#rank.find(sequence.handle) === sequence,
      );
    if (missing().length > 0) await waitFor(this.#tracer, "MASK", this.#wait(missing));
    for (const sequence of constrained) sequence.maskWantedAt = this.#clock.now();
    const sequences = parts.flatMap(({ sequence, logitRows }) => logitRows.map(() => sequence));
    return choices.map((choice, row) =>
      sequences[row].isConstrained
        ? { ...choice, mask: sequences[row].maskAfter(choice.tokens) }
        : choice,
    );
  }

  async #wait(missing: () => readonly Sequence[]): Promise<void> {
    const timers = [
      this.#clock.after(LATE_MS, () => {
        for (const sequence of missing()) sequence.hasLateMasks = true;
      }),
      afterAwake(this.#clock, LONGEST_MS, () => {
        const message = `no word within ${LONGEST_MS} ms of which tokens may come next`;
        for (const sequence of missing()) this.#rank.fail(sequence, message);
        this.#changed();
      }),
    ];
    while (missing().length > 0) await new Promise<void>((resolve) => (this.#changed = resolve));
    for (const cancel of timers) cancel();
  }
}

const isConstrained = ({ sequence, logitRows }: StepPart) =>
  sequence.isConstrained && logitRows.length > 0;
