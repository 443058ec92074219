import { PAGE_TOKENS } from "../../kernels/index.ts";
import type { BlockKey, ContextCache, Loan, PagePool } from "../../kv-cache/index.ts";
import type { WaitName } from "../../trace/index.ts";
import { atMost, countOf, type Proposal } from "../speculation/index.ts";
import type { Sequence } from "./sequence.ts";

/** A sequence's rows in a step: its next uncomputed tokens, then those proposed to follow them. */
export interface StepPart {
  readonly sequence: Sequence;
  readonly rows: number;
  /** Of the part's rows, those after which a token is chosen: the sequence's end, and proposals. */
  readonly logitRows: readonly number[];
  readonly proposed: readonly number[];
  /** Tokens to draft, which are then what is proposed. */
  readonly drafts: number;
}

/** For each sequence of a step, what may follow its tokens: at most `rows` in all. */
export type Propose = (sequences: readonly Sequence[], rows: number) => readonly Proposal[];

export interface SchedulerOptions {
  readonly cache?: BlockSource | undefined;
  readonly listener?: SchedulerListener;
  readonly propose?: Propose | undefined;
  /**
   * Whether a sequence needs its last token's hidden state, and so computes that token again where the KV
   * came from elsewhere. Its KV is written once more, with the same bits.
   */
  readonly keepsStates?: boolean;
}

/** What scheduling needs of the context cache. */
export type BlockSource = Pick<
  ContextCache,
  "isWorthReading" | "computeMs" | "pass" | "load" | "save"
>;

/** Who hears of sequences on their way through the scheduler. */
export interface SchedulerListener {
  /** It has left the queue, its pages are its own, and what its prefill rank wants of its blocks is read. */
  readonly onAdmitted?: (sequence: Sequence) => void;
  /** Its blocks are read: it can be computed. */
  readonly onFetched?: () => void;
}

/** A step while it is planned. */
interface Plan {
  readonly parts: Map<Sequence, StepPart>;
  /** Rows that are still free. */
  budget: number;
}

/** Sequences whose blocks are read at the same time: bounds the memory their reads take. */
const MAX_FETCHERS = 8;

/**
 * Continuous batching with chunked prefill. Sequences that only need their next token come first,
 * then prompt chunks, first come first served, up to a row budget. When pages run out the newest
 * running sequence gives its pages back and waits to be computed again; nothing is lost, because
 * its tokens stay with it. With a context cache a sequence sits out the steps during which its blocks
 * are read, and computed blocks are written behind the step.
 *
 * A sequence that goes from one rank to another has pages for its whole prompt on both before its KV
 * is sent, and keeps them until it is handed over. So those that a decode rank has made room for
 * always get on at their prefill ranks, and no rank waits for itself by way of others.
 */
export class Scheduler {
  readonly #pool: PagePool;
  readonly #rowBudget: number;
  readonly #cache: BlockSource | undefined;
  readonly #listener: SchedulerListener;
  readonly #propose: Propose | undefined;
  readonly #keepsStates: boolean;
  readonly #waiting: Sequence[] = [];
  /** In order of admission. */
  readonly #running = new Set<Sequence>();
  /** Have pages and are not computed: their KV arrives, or waits to be sent. */
  readonly #moving = new Set<Sequence>();
  preemptions = 0;

  constructor(
    pool: PagePool,
    rowBudget: number,
    { cache, listener = {}, propose, keepsStates = false }: SchedulerOptions = {},
  ) {
    this.#pool = pool;
    this.#rowBudget = rowBudget;
    this.#listener = listener;
    this.#propose = propose;
    this.#keepsStates = keepsStates;
    this.#cache = cache;
  }

  get waiting(): number {
    return this.#waiting.length + this.#moving.size;
  }

  get running(): number {
    return this.#running.size;
  }

  /** Why there are sequences and nothing of them to compute. */
  get waitsFor(): WaitName {
    if ([...this.#running, ...this.#moving].some(({ fetching }) => fetching)) return "STORE";
    if (this.#running.size > 0) return "MASK";
    return this.#waiting.length > 0 ? "PAGES" : "KV";
  }

  add(sequence: Sequence): void {
    this.#waiting.push(sequence);
  }

  /** Ends a sequence wherever it is, in the middle of a step too. */
  remove(sequence: Sequence): void {
    this.#releasePages(sequence);
    if (this.#running.delete(sequence) || this.#moving.delete(sequence)) return;
    const at = this.#waiting.indexOf(sequence);
    if (at >= 0) this.#waiting.splice(at, 1);
  }

  /** The next step's parts; each has pages for its rows. */
  plan(): StepPart[] {
    const plan: Plan = { parts: new Map(), budget: this.#rowBudget };
    const running = [...this.#running];
    for (const each of running) if (each.remaining === 1) this.#schedule(each, plan);
    for (const each of running) if (each.remaining > 1) this.#schedule(each, plan);
    for (let place = 0; place < this.#waiting.length;) {
      const sequence = this.#waiting[place];
      if (plan.budget === 0 && !sequence.arriving) break;
      const outcome = this.#admit(sequence);
      if (outcome === "no pages") break;
      // Who has blocks to fetch waits for those who fetch, within the store's deadline; others pass.
      if (outcome === "no fetch") place++;
      else this.#schedule(sequence, plan);
    }
    if (this.#propose) this.#extend(plan, this.#propose);
    return [...plan.parts.values()];
  }

  #schedule(sequence: Sequence, plan: Plan): void {
    const rows = Math.min(sequence.remaining, plan.budget);
    // An earlier part may have taken this one's pages.
    if (rows === 0 || sequence.fetching || !this.#running.has(sequence)) return;
    if (sequence.hasLateMasks && sequence.lacksMask) return;
    if (!this.#makeRoom(sequence, rows, plan)) return;
    const logitRows = rows === sequence.remaining ? [rows - 1] : [];
    plan.parts.set(sequence, { sequence, rows, logitRows, proposed: [], drafts: 0 });
    plan.budget -= rows;
  }

  /**
   * Gives rows and pages that nobody needs to proposals. Beside prompt chunks, which keep the
   * arithmetic busy, a row costs what it brings.
   */
  #extend(plan: Plan, propose: Propose): void {
    const parts = [...plan.parts.values()];
    if (parts.length === 0 || !parts.every(onlyDecodes)) return;
    const sequences = parts.map(({ sequence }) => sequence);
    for (const [i, proposal] of propose(sequences, plan.budget).entries()) {
      if (countOf(proposal) === 0) continue;
      const sequence = sequences[i];
      const end = sequence.computed + 1;
      this.#allocateUpTo(Math.ceil((end + countOf(proposal)) / PAGE_TOKENS), sequence);
      const room = sequence.pages.length * PAGE_TOKENS - end;
      plan.parts.set(sequence, withProposal(sequence, atMost(proposal, room)));
    }
  }

  /**
   * Takes note that rows of tokens that stand are computed: full pages may now be reused by others.
   */
  complete({ sequence, rows }: Pick<StepPart, "sequence" | "rows">): void {
    for (const block of this.#publish(sequence, rows)) {
      this.#cache?.save(sequence.blockKeys[block], sequence.pages[block], block);
    }
  }

  /** Names the pages that `rows` more tokens fill; the blocks they hold. */
  #publish(sequence: Sequence, rows: number): number[] {
    const { pages } = sequence;
    sequence.computed += rows;
    const blocks = [];
    const full = Math.floor(sequence.computed / PAGE_TOKENS);
    for (let block = sequence.published; block < full; block++) {
      pages[block] = this.#pool.publish(pages[block], sequence.blockKeys[block]);
      blocks.push(block);
    }
    sequence.published = Math.max(sequence.published, full);
    return blocks;
  }

  /** A sequence's prompt is computed; it keeps its pages until its KV is sent. */
  hold(sequence: Sequence): void {
    this.#running.delete(sequence);
    this.#moving.add(sequence);
  }

  /** All of a prompt's KV has come into its sequence's pages. */
  settle(sequence: Sequence): void {
    sequence.arriving = false;
    this.#moving.delete(sequence);
    this.#running.add(sequence);
    this.#publish(sequence, sequence.givenLength - sequence.computed);
    this.#stepBack(sequence);
  }

  /** The last token of what others computed is computed here too, where its state is needed. */
  #stepBack(sequence: Sequence): void {
    if (this.#keepsStates && sequence.computed > 0) sequence.computed--;
  }

  /** Admits a waiting sequence, with the prefix the pool still holds, if it fits. */
  #admit(sequence: Sequence): "admitted" | "no pages" | "no fetch" {
    const { arriving } = sequence;
    // The token that a prefill rank adds needs a place too.
    const tokens = sequence.tokens.length + (arriving ? 1 : 0);
    // At least one token is left to compute: its logits are needed.
    const reusable = Math.floor((tokens - 1) / PAGE_TOKENS);
    const keys = sequence.blockKeys.slice(0, reusable);
    const hits = this.#pool.countMatching(keys);
    const missing = (arriving ? blocksUpTo(sequence.loan, reusable) : reusable) - hits;
    const borrows = missing > 0 && sequence.borrows;
    const isSooner = missing > 0 && !borrows && this.#isWorthReading(sequence, missing);
    const fetches = isSooner && this.#fetchers < MAX_FETCHERS;
    if (isSooner && !fetches && !arriving) return "no fetch";
    const blocks = Math.ceil(tokens / PAGE_TOKENS);
    sequence.pages = keys.slice(0, hits).map((key) => this.#pool.reuse(key));
    if (blocks - hits > this.#pool.available) {
      this.#releasePages(sequence);
      return "no pages";
    }
    sequence.computed = hits * PAGE_TOKENS;
    sequence.published = hits;
    this.#waiting.splice(this.#waiting.indexOf(sequence), 1);
    if (arriving || sequence.decodeRank !== undefined) this.#allocateUpTo(blocks, sequence);
    (arriving ? this.#moving : this.#running).add(sequence);
    if (borrows) this.#borrow(sequence, missing);
    else if (this.#cache && fetches) {
      void this.#fetch(sequence, keys.slice(hits, hits + missing), this.#cache);
    } else {
      if (missing > 0 && !isSooner) this.#cache?.pass(missing);
      if (!arriving) this.#stepBack(sequence);
    }
    if (!arriving || !fetches) this.#listener.onAdmitted?.(sequence);
    return "admitted";
  }

  /** Whether its rank, or the one that computes its prompt, has blocks sooner from the store. */
  #isWorthReading({ arriving, loan }: Sequence, blocks: number): boolean {
    return this.#cache?.isWorthReading(blocks, arriving ? loan?.computeMs : undefined) ?? false;
  }

  /** Blocks after those in the pool are asked of the decode rank. */
  #borrow(sequence: Sequence, blocks: number): void {
    sequence.borrows = false;
    sequence.fetching = new AbortController();
    sequence.loan = {
      ...{ first: sequence.computed, count: blocks * PAGE_TOKENS },
      computeMs: this.#cache?.computeMs(blocks) ?? 0,
    };
  }

  /** So many blocks have come from the decode rank; where it `isLate`, the others may be read here. */
  takeLoan(sequence: Sequence, blocks: number, isLate: boolean): void {
    const { loan, fetching } = sequence;
    if (!loan || !fetching) return;
    sequence.loan = undefined;
    sequence.fetching = undefined;
    this.#publish(sequence, blocks * PAGE_TOKENS);
    const [first, end] = [sequence.computed, loan.first + loan.count].map((at) => at / PAGE_TOKENS);
    const reads = isLate && this.#fetchers < MAX_FETCHERS;
    if (this.#cache && reads && end > first && this.#cache.isWorthReading(end - first)) {
      void this.#fetch(sequence, sequence.blockKeys.slice(first, end), this.#cache);
      return;
    }
    this.#stepBack(sequence);
    this.#listener.onFetched?.();
  }

  /** As far as there are pages. */
  #allocateUpTo(blocks: number, { pages }: Sequence): void {
    while (pages.length < blocks) {
      const page = this.#pool.allocate();
      if (page === undefined) return;
      pages.push(page);
    }
  }

  /** Sequences that wait for the context cache. */
  get #fetchers(): number {
    const all = [...this.#running, ...this.#moving];
    return all.filter(({ fetching, arriving, loan }) => fetching && (arriving || !loan)).length;
  }

  /**
   * Reads blocks after those in the pool into pages of the sequence's own. The pages, which it will
   * need in any case, are taken here, between steps: one freed during a step may still be written.
   */
  async #fetch(sequence: Sequence, keys: readonly BlockKey[], cache: BlockSource): Promise<void> {
    const first = sequence.computed / PAGE_TOKENS;
    // Admission made sure that there are enough.
    this.#allocateUpTo(first + keys.length, sequence);
    const pages = sequence.pages.slice(first, first + keys.length);
    const fetching = new AbortController();
    sequence.fetching = fetching;
    const computeMs = sequence.arriving ? sequence.loan?.computeMs : undefined;
    const loaded = await cache.load({ keys, pages, first }, fetching.signal, computeMs);
    if (fetching.signal.aborted) return;
    sequence.fetching = undefined;
    this.#publish(sequence, loaded * PAGE_TOKENS);
    if (sequence.arriving) this.#listener.onAdmitted?.(sequence);
    else this.#stepBack(sequence);
    this.#listener.onFetched?.();
  }

  /** Allocates the pages `rows` more tokens need, preempting newer sequences for it. */
  #makeRoom(sequence: Sequence, rows: number, plan: Plan): boolean {
    const needed = Math.ceil((sequence.computed + rows) / PAGE_TOKENS);
    while (sequence.pages.length < needed) {
      const page = this.#pool.allocate();
      if (page !== undefined) {
        sequence.pages.push(page);
        continue;
      }
      const newest = [...this.#running].findLast(
        ({ decodeRank }) => decodeRank === undefined,
      ) as Sequence;
      plan.budget += plan.parts.get(newest)?.rows ?? 0;
      plan.parts.delete(newest);
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
    if (!sequence.arriving) sequence.loan = undefined;
    for (const page of sequence.pages.toReversed()) this.#pool.release(page);
    sequence.pages = [];
    sequence.computed = 0;
    sequence.published = 0;
  }
}

/** Blocks up to the end of what is wanted of them; of so many at most. */
const blocksUpTo = (loan: Loan | undefined, most: number): number =>
  loan ? Math.min(most, (loan.first + loan.count) / PAGE_TOKENS) : 0;

/** Whether the part is a sequence's last token, and its answer goes on here. */
function onlyDecodes({ sequence, rows, logitRows }: StepPart): boolean {
  return rows === 1 && logitRows.length === 1 && sequence.decodeRank === undefined;
}

/** A sequence's last token, and what is proposed to follow it. */
export function withProposal(sequence: Sequence, proposal: Proposal): StepPart {
  const rows = 1 + countOf(proposal);
  const logitRows = Array.from({ length: rows }, (_, row) => row);
  return typeof proposal === "number"
    ? { sequence, rows, logitRows, proposed: [], drafts: proposal }
    : { sequence, rows, logitRows, proposed: proposal, drafts: 0 };
}
