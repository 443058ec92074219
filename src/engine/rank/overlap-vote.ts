/** `auto`: two micro-batches overlap in a step where that is faster; `on`: in all steps; `off`: in none. */
export const overlapModes = ["auto", "on", "off"] as const;
export type OverlapMode = (typeof overlapModes)[number];

/** Times of so many steps of a kind are compared, and so many are had before they are. */
const COMPARED_STEPS = 8;
const LEAST_STEPS = 3;

/** Milliseconds a row of late steps that did and did not overlap. */
type Times = Record<"overlapped" | "whole", number[]>;

/** A step as a rank sees it. */
export interface OwnStep {
  readonly rows: number;
  /** Whether prompts are among its rows. */
  readonly hasPrompts: boolean;
}

/**
 * A rank's opinion on whether its unit's steps should overlap: it votes for what was faster in steps of
 * about as many rows and the same kind.
 */
export class OverlapVote {
  readonly #times = new Map<string, Times>();

  /** 1 for overlap, −1 against, 0 for none. */
  vote(step: OwnStep): number {
    // There is nothing to divide.
    if (step.rows < 2) return 0;
    const { overlapped, whole } = this.#timesOf(step);
    if (overlapped.length < LEAST_STEPS || whole.length < LEAST_STEPS) {
      return overlapped.length < whole.length ? 1 : -1;
    }
    return median(overlapped) < median(whole) ? 1 : -1;
  }

  /** Takes note of what a step took. */
  learn(step: OwnStep, overlapped: boolean, milliseconds: number): void {
    if (step.rows === 0) return;
    const times = this.#timesOf(step)[overlapped ? "overlapped" : "whole"];
    times.push(milliseconds / step.rows);
    if (times.length > COMPARED_STEPS) times.shift();
  }

  #timesOf({ rows, hasPrompts }: OwnStep): Times {
    const kind = `${hasPrompts} ${Math.ceil(Math.log2(rows))}`;
    let times = this.#times.get(kind);
    if (!times) this.#times.set(kind, (times = { overlapped: [], whole: [] }));
    return times;
  }
}

const median = (values: readonly number[]) =>
  [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)];
