/** Times of a row count that are kept: the least of them is little disturbed by the machine's other work. */
const KEPT = 4;
/** What a row more is taken to cost, as a share of a step, where nothing is known of it. */
const HOPED_SHARE = 0.05;

/** What a step that only decodes takes, by its rows, as measured. */
export class StepCost {
  /** The last times of each row count, in milliseconds. */
  readonly #times = new Map<number, number[]>();
  /** Row counts that have been measured, ascending. */
  #known: readonly number[] = [];

  measure(rows: number, milliseconds: number): void {
    const times = this.#times.get(rows) ?? [];
    times.push(milliseconds);
    if (times.length > KEPT) times.shift();
    if (times.length === 1) this.#known = [...this.#known, rows].sort((a, b) => a - b);
    this.#times.set(rows, times);
  }

  /** The most rows that a step should try: twice what is known, so that a bad guess costs little. */
  get reach(): number {
    return 2 * (this.#known.at(-1) ?? 0);
  }

  /** Milliseconds: measured, on the line between two row counts that are, or on the last line. */
  of(rows: number): number {
    const times = this.#times.get(rows);
    if (times) return Math.min(...times);
    const known = this.#known;
    if (known.length === 0) return 1 + HOPED_SHARE * rows;
    const above = known.findIndex((count) => count > rows);
    if (above === 0) return this.of(known[0]);
    const last = above < 0 ? known.length - 1 : above;
    const [x0, x1] = [known[last - 1], known[last]];
    const y1 = this.of(x1);
    const slope = x0 === undefined ? HOPED_SHARE * y1 : (y1 - this.of(x0)) / (x1 - x0);
    return y1 + Math.max(0, slope) * (rows - x1);
  }
}
