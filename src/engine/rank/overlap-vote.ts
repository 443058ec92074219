import { median } from "../median.ts";

/** `auto`: two micro-batches overlap in a step where that is faster; `on`: in all steps; `off`: in none. */
export const overlapModes = ["auto", "on", "off"] as const;
export type OverlapMode = (typeof overlapModes)[number];

/** Times of so many late steps of a size are compared; with fewer than so many the answer is unsure. */
const COMPARED_STEPS = 8;
const SURE_STEPS = 2;
/** What trials may cost: a share of the time of all steps of their phase and size. */
const TRIAL_SHARE = 1 / 100;
const UNSURE_TRIAL_SHARE = 1 / 16;
/** One late step may make a trial look so dear that it would not be repeated. */
const UNSURE_COST = 1 / 2;
/**
 * Overlap hides at most what a step waits for rows of other ranks. A step that waits less takes at most 1 / (1 − 0.025) as
 * long as it might: less than the three hundredths that a vote may lose.
 */
const LEAST_WAIT_SHARE = 0.025;

/** A step as a rank sees it. */
export interface OwnStep {
  readonly rows: number;
  /** Whether prompts are among its rows. */
  readonly hasPrompts: boolean;
}

/** What a rank would have its unit do in a step. */
export interface Opinion {
  /** Thousandths of the step that overlap saves; below 0 what it costs, 0 for no opinion. */
  readonly saves: number;
  /** Whether to do the opposite of what the unit finds better, to see if that is still so. */
  readonly trial: boolean;
}

export interface StepOutcome {
  readonly overlapped: boolean;
  readonly milliseconds: number;
  /** Of those, how long the rank had nothing but other ranks' rows to wait for. */
  readonly waitedMs: number;
}

const noOpinion: Opinion = { saves: 0, trial: false };
const against: Opinion = { saves: -1, trial: false };

/**
 * A rank's opinion on whether its unit's steps should overlap. It is for what was faster in late steps of
 * the same phase and about as many rows, or of the nearest size that it knows. What is against the opinion is
 * tried again when trials have cost less than a hundredth of all time; never, where steps that do not overlap
 * wait for nothing that could be hidden.
 */
export class OverlapVote {
  readonly #prompts = new Phase();
  readonly #decoding = new Phase();

  opinion(step: OwnStep): Opinion {
    // There is nothing to divide.
    return step.rows < 2 ? noOpinion : this.#phaseOf(step).opinion(step.rows);
  }

  /** Takes note of what a step took. */
  learn(step: OwnStep, outcome: StepOutcome): void {
    if (step.rows > 1) this.#phaseOf(step).learn(step.rows, outcome);
  }

  #phaseOf({ hasPrompts }: OwnStep): Phase {
    return hasPrompts ? this.#prompts : this.#decoding;
  }
}

/** Late steps of about as many rows, by the row. */
interface Size {
  readonly log2Rows: number;
  /** Milliseconds. */
  readonly overlapped: number[];
  readonly whole: number[];
  /** Shares of whole steps that were waited. */
  readonly waited: number[];
  /** Time of the steps since the last trial. */
  sinceTrialMs: number;
}

/** Steps with prompts, or steps that only decode. */
class Phase {
  readonly #sizes = new Map<number, Size>();
  /** The first step pays for what is touched for the first time. */
  #isCold = true;

  opinion(rows: number): Opinion {
    const size = this.#sizeOf(rows);
    const known = this.#nearestKnown(size);
    if (!known) {
      const { whole, waited } = size;
      return whole.length > 0 && canGain(waited) ? { ...against, trial: true } : against;
    }
    const ratio = median(known.overlapped) / median(known.whole);
    const saves = Math.round(1000 * (1 - ratio)) || -1;
    return { saves, trial: this.#isTrialDue(rows, size, known) };
  }

  learn(rows: number, { overlapped, milliseconds, waitedMs }: StepOutcome): void {
    if (this.#isCold) {
      this.#isCold = false;
      return;
    }
    const size = this.#sizeOf(rows);
    const known = this.#nearestKnown(size);
    const isTrial = known === undefined || overlapped !== isFaster(known);
    size.sinceTrialMs = isTrial ? 0 : size.sinceTrialMs + milliseconds;
    keep(size[overlapped ? "overlapped" : "whole"], milliseconds / rows);
    if (!overlapped) keep(size.waited, waitedMs / milliseconds);
  }

  #isTrialDue(rows: number, size: Size, known: Size): boolean {
    const { overlapped, whole } = known;
    const [better, tried] = isFaster(known) ? [overlapped, whole] : [whole, overlapped];
    if (tried === overlapped && !canGain(size.waited)) return false;
    const unsure = known === size && tried.length < SURE_STEPS;
    const dearer = median(tried) / median(better) - 1;
    const cost = rows * median(better) * (unsure ? Math.min(dearer, UNSURE_COST) : dearer);
    return size.sinceTrialMs * (unsure ? UNSURE_TRIAL_SHARE : TRIAL_SHARE) > cost;
  }

  /** Of which both is known. */
  #nearestKnown({ log2Rows }: Size): Size | undefined {
    const known = [...this.#sizes.values()].filter(
      ({ overlapped, whole }) => overlapped.length > 0 && whole.length > 0,
    );
    const distance = (size: Size) => Math.abs(size.log2Rows - log2Rows);
    return known.toSorted((a, b) => distance(a) - distance(b)).at(0);
  }

  #sizeOf(rows: number): Size {
    const log2Rows = Math.ceil(Math.log2(rows));
    let size = this.#sizes.get(log2Rows);
    if (!size) {
      size = { log2Rows, overlapped: [], whole: [], waited: [], sinceTrialMs: 0 };
      this.#sizes.set(log2Rows, size);
    }
    return size;
  }
}

const isFaster = ({ overlapped, whole }: Size) => median(overlapped) < median(whole);

/** Nothing is known of what was never seen. */
const canGain = (waited: readonly number[]) =>
  waited.length === 0 || median(waited) >= LEAST_WAIT_SHARE;

function keep(values: number[], value: number): void {
  values.push(value);
  if (values.length > COMPARED_STEPS) values.shift();
}
