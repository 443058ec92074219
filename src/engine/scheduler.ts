import { PAGE_TOKENS } from "../kernels/index.ts";
import type { PagePool } from "../kv-cache/index.ts";
import type { Sequence } from "./sequence.ts";

/** A sequence's rows in a step: its next `rows` uncomputed tokens. */
export interface StepPart {
  readonly sequence: Sequence;
  readonly rows: number;
}

/**
 * Continuous batching with chunked prefill. Sequences that only need their next token come first,
 * then prompt chunks, first come first served, up to a row budget. When pages run out the newest
 * running sequence gives its pages back and waits to be computed again; nothing is lost, because
 * its tokens stay with it.
 */
export class Scheduler {
  readonly #pool: PagePool;
  readonly #rowBudget: number;
  readonly #waiting: Sequence[] = [];
  /** In order of admission. */
  readonly #running: Sequence[] = [];
  preemptions = 0;

  constructor(pool: PagePool, rowBudget: number) {
    this.#pool = pool;
    this.#rowBudget = rowBudget;
  }

  get waiting(): number {
    return this.#waiting.length;
  }

  get running(): number {
    return this.#running.length;
  }

  add(sequence: Sequence): void {
    this.#waiting.push(sequence);
  }

  /** Ends a sequence wherever it is. */
  remove(sequence: Sequence): void {
    this.#releasePages(sequence);
    for (const list of [this.#waiting, this.#running]) {
      const at = list.indexOf(sequence);
      if (at >= 0) list.splice(at, 1);
    }
  }

  /** The next step's parts; each has pages for its rows. */
  plan(): StepPart[] {
    const parts: StepPart[] = [];
    let budget = this.#rowBudget;
    const schedule = (sequence: Sequence) => {
      const rows = Math.min(sequence.remaining, budget);
      if (rows === 0 || !this.#makeRoom(sequence, rows, parts)) return;
      parts.push({ sequence, rows });
      budget -= rows;
    };
    const running = [...this.#running];
    for (const sequence of running.filter((s) => s.remaining === 1)) {
      if (this.#running.includes(sequence)) schedule(sequence);
    }
    for (const sequence of running.filter((s) => s.remaining > 1)) {
      if (this.#running.includes(sequence)) schedule(sequence);
    }
    while (budget > 0 && this.#waiting.length > 0 && this.#admit(this.#waiting[0])) {
      schedule(this.#running[this.#running.length - 1]);
    }
    return parts;
  }

  /** Moves the first waiting sequence to the running ones, with the prefix the pool still holds. */
  #admit(sequence: Sequence): boolean {
    const keys = sequence.blockKeys(sequence.tokens.length - 1);
    const hits = this.#pool.countMatching(keys);
    const reused = keys.slice(0, hits).map((key) => this.#pool.reuse(key));
    const needed = Math.ceil(sequence.tokens.length / PAGE_TOKENS) - hits;
    sequence.pages = reused;
    if (needed > this.#pool.available) {
      this.#releasePages(sequence);
      return false;
    }
    sequence.computed = hits * PAGE_TOKENS;
    this.#waiting.shift();
    this.#running.push(sequence);
    return true;
  }

  /** Allocates the pages `rows` more tokens need, preempting newer sequences for it. */
  #makeRoom(sequence: Sequence, rows: number, parts: StepPart[]): boolean {
    const needed = Math.ceil((sequence.computed + rows) / PAGE_TOKENS);
    while (sequence.pages.length < needed) {
      const page = this.#pool.allocate();
      if (page !== undefined) {
        sequence.pages.push(page);
        continue;
      }
      const newest = this.#running[this.#running.length - 1];
      this.#preempt(newest, parts);
      if (newest === sequence) return false;
    }
    return true;
  }

  #preempt(sequence: Sequence, parts: StepPart[]): void {
    this.preemptions++;
    this.#running.splice(this.#running.indexOf(sequence), 1);
    const planned = parts.findIndex((part) => part.sequence === sequence);
    if (planned >= 0) parts.splice(planned, 1);
    this.#releasePages(sequence);
    this.#waiting.unshift(sequence);
  }

  /** Last page first, so that the pool forgets a context from its end. */
  #releasePages(sequence: Sequence): void {
    for (const page of sequence.pages.reverse()) this.#pool.release(page);
    sequence.pages = [];
    sequence.computed = 0;
  }
}
