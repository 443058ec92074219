import type { TimeSums } from "../billing/index.ts";

/** Where a model's waits are counted as they end, in seconds, and what losses of ranks cost. */
interface Waits {
  readonly queued: (seconds: number) => void;
  readonly firstToken: (seconds: number) => void;
  readonly nextToken: (seconds: number) => void;
  readonly resumed: (recomputedTokens: number) => void;
}

/** When the sequences of one request went on; milliseconds since 1970. */
export class RequestTimes {
  readonly admitted: number;
  readonly sequences: SequenceTimes[] = [];
  readonly #waits: Waits;

  constructor(admitted: number, waits: Waits) {
    this.admitted = admitted;
    this.#waits = waits;
  }

  sequence(): SequenceTimes {
    const times = new SequenceTimes(this.admitted, this.#waits);
    this.sequences.push(times);
    return times;
  }

  get sums(): TimeSums {
    const sums = { sequences: 0, firstTokenMs: 0, decodeMs: 0, resumed: 0, recomputedTokens: 0 };
    for (const { firstTokenAt, lastTokenAt, resumed, recomputedTokens } of this.sequences) {
      sums.resumed += resumed;
      sums.recomputedTokens += recomputedTokens;
      if (firstTokenAt === undefined || lastTokenAt === undefined) continue;
      sums.sequences++;
      sums.firstTokenMs += firstTokenAt - this.admitted;
      sums.decodeMs += lastTokenAt - firstTokenAt;
    }
    return sums;
  }
}

export class SequenceTimes {
  readonly admitted: number;
  readonly #waits: Waits;
  #resumed = 0;
  #recomputedTokens = 0;
  #started: number | undefined;
  #first: number | undefined;
  #last: number | undefined;

  constructor(admitted: number, waits: Waits) {
    this.admitted = admitted;
    this.#waits = waits;
  }

  /** Its first computation began. */
  get startedAt(): number | undefined {
    return this.#started;
  }

  get firstTokenAt(): number | undefined {
    return this.#first;
  }

  get lastTokenAt(): number | undefined {
    return this.#last;
  }

  started(now: number): void {
    this.#started = Math.max(now, this.admitted);
    this.#waits.queued((this.#started - this.admitted) / 1000);
  }

  /** How often it went on elsewhere. */
  get resumed(): number {
    return this.#resumed;
  }

  get recomputedTokens(): number {
    return this.#recomputedTokens;
  }

  /** It goes on elsewhere after a loss of ranks. */
  resume(recomputedTokens: number): void {
    this.#resumed++;
    this.#recomputedTokens += recomputedTokens;
    this.#waits.resumed(recomputedTokens);
  }

  /** A clock that was set back has not run backwards. */
  token(now: number): void {
    const before = this.#last ?? this.admitted;
    this.#last = Math.max(now, this.#started ?? 0, before);
    const seconds = (this.#last - before) / 1000;
    if (this.#first !== undefined) return this.#waits.nextToken(seconds);
    this.#first = this.#last;
    this.#waits.firstToken(seconds);
  }
}
