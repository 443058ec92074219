import { firstMatch, unfinishedLength } from "../../model/index.ts";

/**
 * Finds stop strings in text that arrives in pieces, however it is cut: the string whose last
 * character comes first wins, the longest of those. Text that may be the beginning of one is held
 * back until the next piece decides.
 */
export class StopStrings {
  readonly #strings: readonly string[];
  readonly #told: boolean;
  #held = "";
  #match: string | undefined;

  /** `told`: the string that ends the answer is let through too. */
  constructor(strings: readonly string[], told = false) {
    this.#strings = strings;
    this.#told = told;
  }

  /** A stop string has been completed: nothing after it is ever let through. */
  get matched(): boolean {
    return this.#match !== undefined;
  }

  /** Which one. */
  get match(): string | undefined {
    return this.#match;
  }

  /** The text that is safe to send now. */
  push(piece: string): string {
    if (this.matched) return "";
    const text = this.#held + piece;
    const match = firstMatch(text, this.#strings);
    if (match) {
      this.#match = text.slice(match.start, match.end);
      this.#held = "";
      return text.slice(0, this.#told ? match.end : match.start);
    }
    const safe = text.length - unfinishedLength(text, this.#strings);
    this.#held = text.slice(safe);
    return text.slice(0, safe);
  }

  /** What was held back, now that no more text can complete a stop string. */
  end(): string {
    const text = this.#held;
    this.#held = "";
    return text;
  }
}
