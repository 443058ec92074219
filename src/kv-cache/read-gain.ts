/** Share of the newest measurement in a mean. */
const NEWEST = 0.2;
/** Runs of reads before their time is believed. */
const ENOUGH_READS = 8;
/**
 * Reading takes nothing from others who compute, so that blocks are computed only where reading them
 * would take so many milliseconds longer.
 */
const WORTH_COMPUTING_MS = 50;
/** Every so many runs are read against that, to find out whether the store is faster again. */
const TRIAL = 16;

/** Whether blocks come sooner from a store than from computing them, by what both took so far. */
export class ReadGain {
  readonly #readsAhead: number;
  #reads = 0;
  #msPerRound = 0;
  #msPerToken: number | undefined;
  #refused = 0;

  /** `readsAhead`: blocks that are asked for together, after the first. */
  constructor(readsAhead: number) {
    this.#readsAhead = readsAhead;
  }

  /** So many blocks came in one run. */
  sawRead(blocks: number, ms: number): void {
    const newest = ms / this.#roundsOf(blocks);
    this.#msPerRound = this.#reads++ === 0 ? newest : mean(this.#msPerRound, newest);
  }

  /** A step with prompts took so long for so many rows. */
  sawComputed(rows: number, ms: number): void {
    const newest = ms / rows;
    this.#msPerToken = this.#msPerToken === undefined ? newest : mean(this.#msPerToken, newest);
  }

  /** Whether to read a run of blocks, of so many tokens. */
  pays(blocks: number, tokens: number): boolean {
    if (this.#reads < ENOUGH_READS || this.#msPerToken === undefined) return true;
    const later = this.#roundsOf(blocks) * this.#msPerRound - tokens * this.#msPerToken;
    return later < WORTH_COMPUTING_MS || ++this.#refused % TRIAL === 0;
  }

  #roundsOf(blocks: number): number {
    return 1 + Math.ceil((blocks - 1) / this.#readsAhead);
  }
}

const mean = (before: number, newest: number) => before + NEWEST * (newest - before);
