/** What latency is told over. */
const WINDOW_MS = 60_000;
/** Late values that are kept of a kind. */
const KEPT = 2048;

/** Milliseconds: the least that so much of the values does not exceed. */
export interface Percentiles {
  readonly p50: number;
  readonly p95: number;
}

/** How long the last minute's tokens took. */
export class Latencies {
  readonly #first = new LateValues();
  readonly #token = new LateValues();

  /** The watch of a sequence that is asked for at `now`, in milliseconds. */
  sequence(now: number): SequenceWatch {
    return new SequenceWatch(now, this.#first, this.#token);
  }

  /** From request to first token; null where there was none in the last minute. */
  firstToken(now: number): Percentiles | null {
    return this.#first.percentiles(now);
  }

  /** Of each token after the first; of several that came together, each had its share. */
  perToken(now: number): Percentiles | null {
    return this.#token.percentiles(now);
  }
}

/** Times one sequence's tokens as they come. */
export class SequenceWatch {
  readonly #first: LateValues;
  readonly #token: LateValues;
  /** When the last tokens came, and how long they had taken. */
  #last: number;
  #took: number | undefined;
  #tokens = 0;

  constructor(asked: number, first: LateValues, token: LateValues) {
    this.#last = asked;
    this.#first = first;
    this.#token = token;
  }

  token(now: number): void {
    if (this.#tokens > 0 && now <= this.#last) {
      this.#tokens++;
      return;
    }
    if (this.#tokens === 0) this.#first.add(now, Math.max(0, now - this.#last));
    else {
      this.end();
      this.#took = now - this.#last;
    }
    this.#last = now;
    this.#tokens = 1;
  }

  /** No more come. */
  end(): void {
    if (this.#took !== undefined) this.#token.add(this.#last, this.#took / this.#tokens);
    this.#took = undefined;
  }
}

/** A ring of values and when they came. */
class LateValues {
  readonly #times = new Float64Array(KEPT);
  readonly #values = new Float64Array(KEPT);
  #count = 0;

  add(time: number, value: number): void {
    const at = this.#count++ % KEPT;
    this.#times[at] = time;
    this.#values[at] = value;
  }

  percentiles(now: number): Percentiles | null {
    const kept = this.#values.subarray(0, Math.min(this.#count, KEPT));
    const late = kept.filter((_, at) => this.#times[at] > now - WINDOW_MS).sort();
    if (late.length === 0) return null;
    const of = (share: number) => late[Math.ceil(share * late.length) - 1];
    return { p50: of(0.5), p95: of(0.95) };
  }
}
