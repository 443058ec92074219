import { StepCost } from "./step-cost.ts";

/** After fewer passes nothing is known: the first take longer. */
const NEEDED = 8;
/** How much more than its time a pass has to be worth: chances and times are known roughly. */
const MARGIN = 1.25;

/** What a pass takes that drafts a token for each of so many sequences, as measured. */
export class PassCost {
  readonly #times = new StepCost();
  #measured = 0;

  /** Whether enough has been measured. */
  get isKnown(): boolean {
    return this.#measured >= NEEDED;
  }

  measure(sequences: number, milliseconds: number): void {
    this.#measured++;
    this.#times.measure(rounded(sequences), milliseconds);
  }

  /** Milliseconds; as long as too little is known, none are hoped for. */
  of(sequences: number): number {
    return this.isKnown ? MARGIN * this.#times.of(rounded(sequences)) : 0;
  }
}

/** To few counts, of which each is measured often. */
function rounded(sequences: number): number {
  return 2 ** Math.ceil(Math.log2(Math.max(1, sequences)));
}
