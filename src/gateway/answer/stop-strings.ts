/**
 * Finds stop strings in text that arrives in pieces, however it is cut: the string whose last
 * character comes first wins, the longest of those. Text that may be the beginning of one is held
 * back until the next piece decides.
 */
export class StopStrings {
  readonly #strings: readonly string[];
  #held = "";
  #matched = false;

  constructor(strings: readonly string[]) {
    this.#strings = strings;
  }

  /** A stop string has been completed: nothing after it is ever let through. */
  get matched(): boolean {
    return this.#matched;
  }

  /** The text that is safe to send now. */
  push(piece: string): string {
    if (this.#matched) return "";
    const text = this.#held + piece;
    const start = this.#firstMatch(text);
    if (start !== undefined) {
      this.#matched = true;
      this.#held = "";
      return text.slice(0, start);
    }
    const safe = text.length - this.#heldLength(text);
    this.#held = text.slice(safe);
    return text.slice(0, safe);
  }

  /** What was held back, now that no more text can complete a stop string. */
  end(): string {
    const text = this.#held;
    this.#held = "";
    return text;
  }

  #firstMatch(text: string): number | undefined {
    let best: { start: number; end: number } | undefined;
    for (const string of this.#strings) {
      const start = text.indexOf(string);
      if (start < 0) continue;
      const end = start + string.length;
      if (!best || end < best.end || (end === best.end && start < best.start)) {
        best = { start, end };
      }
    }
    return best?.start;
  }

  /** Length of the longest end of `text` that begins a stop string. */
  #heldLength(text: string): number {
    let longest = 0;
    for (const string of this.#strings) {
      for (let length = Math.min(string.length - 1, text.length); length > longest; length--) {
        if (text.endsWith(string.slice(0, length))) longest = length;
      }
    }
    return longest;
  }
}
