/** A schema or grammar that cannot be followed; the message begins with the path of what is wrong in it. */
export class GrammarError extends Error {
  override readonly name = "GrammarError";
}

/** The same of a function that an answer may call. */
export class FunctionError extends GrammarError {}

/** Work that a grammar may still cost: what it makes, and what it walks over. */
export class Effort {
  #left: number;
  readonly #limit: number;
  readonly #what: string;

  constructor(limit: number, what: string) {
    this.#left = limit;
    this.#limit = limit;
    this.#what = what;
  }

  /** Whether less than half is left. */
  get isLow(): boolean {
    return this.#left < this.#limit / 2;
  }

  /** Whether something was asked for that was not left. */
  get isSpent(): boolean {
    return this.#left < 0;
  }

  get spent(): number {
    return this.#limit - this.#left;
  }

  /** @throws GrammarError when nothing is left. */
  spend(amount = 1): void {
    this.#left -= amount;
    if (this.#left < 0) throw new GrammarError(`${this.#what} is too large to be followed`);
  }
}
