import { PAGE_TOKENS } from "../kernels/index.ts";

/** Share of the newest step in the mean of compute times. */
const NEWEST = 0.2;
/** Of so many last rounds of reads the fastest is believed: a machine's stalls are not the store's. */
const ROUNDS = 3;
/**
 * Reading takes nothing from others who compute, so that blocks are computed only where reading them
 * would take so many milliseconds longer.
 */
const WORTH_COMPUTING_MS = 50;
/** What is under way is waited for a little longer. */
const UNDER_WAY_MS = 250;
/** Milliseconds of a token until a step was measured. */
const ASSUMED_MS = 1;
/** Runs that are computed before a slow store is tried again: one at first, and twice as many each time, up to this. */
const MOST_PASSED = 16;

/** Whether blocks come sooner from a store than from computing them, by what both took so far. */
export class ReadGain {
  readonly #readsAhead: number;
  /** Milliseconds of the last rounds. */
  readonly #rounds: number[] = [];
  #msPerToken: number | undefined;
  /** Runs since the last that was read. */
  #passed = 0;
  #tryAfter = 1;

  /** `readsAhead`: blocks that are asked for together, after the first. */
  constructor(readsAhead: number) {
    this.#readsAhead = readsAhead;
  }

  /** A round of reads took so long, or had not come by then. */
  sawRound(ms: number): void {
    this.#rounds.push(ms);
    if (this.#rounds.length > ROUNDS) this.#rounds.shift();
    if (this.#passed > 0) this.#tryAfter = Math.min(MOST_PASSED, 2 * this.#tryAfter);
    this.#passed = 0;
  }

  /** A step with prompts took so long for so many rows. */
  sawComputed(rows: number, ms: number): void {
    const newest = ms / rows;
    const before = this.#msPerToken ?? newest;
    this.#msPerToken = before + NEWEST * (newest - before);
  }

  /** A run of blocks is computed because that is faster. */
  passed(): void {
    this.#passed++;
  }

  /** Milliseconds in which blocks would be computed here. */
  computeMs(blocks: number): number {
    return blocks * PAGE_TOKENS * (this.#msPerToken ?? ASSUMED_MS);
  }

  /** Milliseconds in which a run of blocks would be read; undefined while that is not known. */
  readMs(blocks: number): number | undefined {
    if (this.#rounds.length < ROUNDS) return undefined;
    return this.#roundsOf(blocks) * Math.min(...this.#rounds);
  }

  /** Whether to read a run of blocks that somebody would compute in so many milliseconds. */
  pays(blocks: number, computeMs: number): boolean {
    const readMs = this.readMs(blocks);
    const isSooner = readMs === undefined || readMs < computeMs + WORTH_COMPUTING_MS;
    // A store that is slow after that is tried as one that was never slow.
    if (isSooner) this.#tryAfter = 1;
    return isSooner || this.#passed >= this.#tryAfter;
  }

  /** Whether to read on in a run of which so many blocks are left, by its own last round and those before it. */
  goesOn(blocks: number, computeMs: number): boolean {
    const roundMs = Math.min(...this.#rounds);
    return this.#roundsOf(blocks, 0) * roundMs < computeMs + UNDER_WAY_MS;
  }

  /** How long to wait for a round of blocks that would be computed, with all after them, in so many milliseconds. */
  patience(computeMs: number): number {
    return computeMs + UNDER_WAY_MS;
  }

  #roundsOf(blocks: number, alone = 1): number {
    return alone + Math.ceil((blocks - alone) / this.#readsAhead);
  }
}
