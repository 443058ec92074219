import { PAGE_TOKENS } from "../../kernels/index.ts";
import type { ArrivingKv, BlockKey, ContextCache, PagePool } from "../../kv-cache/index.ts";
import type { Sequence } from "./sequence.ts";

/** A sequence's rows in a step: its next `rows` uncomputed tokens. */
export interface StepPart {
  readonly sequence: Sequence;
  readonly rows: number;
  /** Whether the rows reach the sequence's end, so that its next token can be sampled. */
  readonly last: boolean;
}

/** What scheduling needs of the context cache. */
export type BlockSource = Pick<ContextCache, "isReadable" | "load" | "save">;

/** Sequences whose blocks are read at the same time: bounds the memory their reads take. */
const MAX_FETCHERS = 8;

/**
 * Continuous batching with chunked prefill. Sequences that only need their next token come first,
 * then prompt chunks, first come first served, up to a row budget. When pages run out the newest
 * running sequence gives its pages back and waits to be computed again; nothing is lost, because
 * its tokens stay with it. With a context cache a sequence sits out the steps during which its blocks
 * are read, and computed blocks are written behind the step.
 */
export class Scheduler {
  readonly #pool: PagePool;
  readonly #rowBudget: number;
  readonly #cache: BlockSource | undefined;
  /** Told when a sequence that was fetching can be computed. */
  readonly #onFetched: () => void;
  readonly #waiting: Sequence[] = [];
  /** In order of admission. */
  readonly #running = new Set<Sequence>();
  preemptions = 0;

  constructor(
    pool: PagePool,
    rowBudget: number,
    cache?: BlockSource,
    onFetched: () => void = () => undefined,
  ) {
    this.#pool = pool;
    this.#rowBudget = rowBudget;
    this.#cache = cache;
    this.#onFetched = onFetched;
  }

  get waiting(): number {
    return this.#waiting.length;
  }

  get running(): number {
    return this.#running.size;
  }

  add(sequence: Sequence): void {
    this.#waiting.push(sequence);
  }

  /** Ends a sequence wherever it is, in the middle of a step too. */
  remove(sequence: Sequence): void {
    this.#releasePages(sequence);
    if (this.#running.delete(sequence)) return;
    const at = this.#waiting.indexOf(sequence);
    if (at >= 0) this.#waiting.splice(at, 1);
  }

  /** The next step's parts; each has pages for its rows. */
  plan(): StepPart[] {
    const parts = new Map<Sequence, StepPart>();
    let budget = this.#rowBudget;
    const schedule = (sequence: Sequence): void => {
      const rows = Math.min(sequence.remaining, budget);
      // An earlier part may have taken this one's pages.
      if (rows === 0 || sequence.fetching || !this.#running.has(sequence)) return;
      if (!this.#makeRoom(sequence, rows, parts)) return;
      parts.set(sequence, { sequence, rows, last: rows === sequence.remaining });
      budget -= rows;
    };
    const running = [...this.#running];
    running.filter(({ remaining }) => remaining === 1).forEach(schedule);
    running.filter(({ remaining }) => remaining > 1).forEach(schedule);
    for (let place = 0; place < this.#waiting.length;) {
      if (budget === 0) break;
      const sequence = this.#waiting[place];
      const outcome = this.#admit(sequence);
      if (outcome === "no pages") break;
      // Who has blocks to fetch waits for those who fetch, within the store's deadline; others pass.
      if (outcome === "no fetch") place++;
      else schedule(sequence);
    }
    return [...parts.values()];
  }

  /** Takes note that a part's rows are computed: full pages may now be reused by others. */
  complete({ sequence, rows }: StepPart): void {
    for (const block of this.#publish(sequence, rows)) {
      this.#cache?.save(sequence.blockKeys[block], sequence.pages[block], block);
    }
  }

  /** Names the pages that `rows` more tokens fill; the blocks they hold. */
  #publish(sequence: Sequence, rows: number): number[] {
    const { pages } = sequence;
    const first = Math.floor(sequence.computed / PAGE_TOKENS);
    sequence.computed += rows;
    const blocks = [];
    for (let block = first; block < Math.floor(sequence.computed / PAGE_TOKENS); block++) {
      pages[block] = this.#pool.publish(pages[block], sequence.blockKeys[block]);
      blocks.push(block);
    }
    return blocks;
  }

  /** Lets a waiting sequence run, with the prefix the pool still holds, if it fits. */
  #admit(sequence: Sequence): "admitted" | "no pages" | "no fetch" {
    // At least one token is left to compute: its logits are needed.
    const reusable = Math.floor((sequence.tokens.length - 1) / PAGE_TOKENS);
    const keys = sequence.blockKeys.slice(0, reusable);
    const hits = this.#pool.countMatching(keys);
    const fetches = !sequence.arrived && hits < reusable && (this.#cache?.isReadable ?? false);
    if (fetches && this.#fetchers >= MAX_FETCHERS) return "no fetch";
    const needed = Math.ceil(sequence.tokens.length / PAGE_TOKENS) - hits;
    sequence.pages = keys.slice(0, hits).map((key) => this.#pool.reuse(key));
    if (needed > this.#pool.available) {
      this.#releasePages(sequence);
      return "no pages";
    }
    sequence.computed = hits * PAGE_TOKENS;
    this.#waiting.splice(this.#waiting.indexOf(sequence), 1);
    this.#running.add(sequence);
    if (sequence.arrived) this.#settle(sequence, sequence.arrived);
    else if (this.#cache && fetches) void this.#fetch(sequence, keys.slice(hits), this.#cache);
    return "admitted";
  }

  /** Puts KV that came from a prefill rank into pages, which admission made sure there are. */
  #settle(sequence: Sequence, arrived: ArrivingKv): void {
    const needed = Math.ceil(arrived.tokens / PAGE_TOKENS);
    while (sequence.pages.length < needed) sequence.pages.push(this.#pool.allocate() as number);
    arrived.writeTo(sequence.pages, sequence.computed);
    sequence.arrived = undefined;
    this.#publish(sequence, arrived.tokens - sequence.computed);
  }

  /** Sequences that wait for the context cache. */
  get #fetchers(): number {
    return [...this.#running].filter(({ fetching }) => fetching).length;
  }

  /**
   * Reads blocks after those in the pool into pages of the sequence's own. The pages, which it will
   * need in any case, are taken here, between steps: one freed during a step may still be written.
   */
  async #fetch(sequence: Sequence, keys: readonly BlockKey[], cache: BlockSource): Promise<void> {
    const first = sequence.pages.length;
    // Admission made sure that there are enough.
    const pages = keys.map(() => this.#pool.allocate() as number);
    sequence.pages.push(...pages);
    const fetching = new AbortController();
    sequence.fetching = fetching;
    const loaded = await cache.load({ keys, pages, first }, fetching.signal);
    if (fetching.signal.aborted) return;
    sequence.fetching = undefined;
    this.#publish(sequence, loaded * PAGE_TOKENS);
    this.#onFetched();
  }

  /** Allocates the pages `rows` more tokens need, preempting newer sequences for it. */
  #makeRoom(sequence: Sequence, rows: number, parts: Map<Sequence, StepPart>): boolean {
    const needed = Math.ceil((sequence.computed + rows) / PAGE_TOKENS);
    while (sequence.pages.length < needed) {
      const page = this.#pool.allocate();
      if (page !== undefined) {
        sequence.pages.push(page);
        continue;
      }
      const newest = [...this.#running].at(-1) as Sequence;
      parts.delete(newest);
      this.#preempt(newest);
      if (newest === sequence) return false;
    }
    return true;
  }

  #preempt(sequence: Sequence): void {
    this.preemptions++;
    this.#running.delete(sequence);
    this.#releasePages(sequence);
    this.#waiting.unshift(sequence);
  }

  /** Last page first, so that the pool forgets a context from its end. */
  #releasePages(sequence: Sequence): void {
    sequence.fetching?.abort();
    sequence.fetching = undefined;
    for (const page of sequence.pages.toReversed()) this.#pool.release(page);
    sequence.pages = [];
    sequence.computed = 0;
  }
}
