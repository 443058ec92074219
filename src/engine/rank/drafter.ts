import { PAGE_TOKENS } from "../../kernels/index.ts";
import type { KvPool, Mtp, MtpBatch } from "../../model/index.ts";
import { withProposal, type StepPart } from "./scheduler.ts";
import type { Sequence } from "./sequence.ts";
import { choiceAfter } from "./step-batch.ts";

/** Rows a sequence that may be owed where drafts were made in the step before; more are of steps without. */
const FEW = 16;

/** What is known of a sequence between steps. */
interface Context {
  /** Positions before this one have their entries in the MTP layer's plane. */
  written: number;
  /** The position whose token was drafted after, when it was the sequence's last. */
  draftedAfter: number | undefined;
  /** Position of the first state that is kept. */
  first: number;
  /** How many are kept: of the position before `written`, and of what follows it. */
  kept: number;
  /** The trunk's states, in one buffer that lasts, since a step allocates enough. [.., hidden] */
  states: Float32Array;
}

/** A row of the MTP layer: a token and the state before it. */
interface Row {
  readonly pages: readonly number[];
  readonly position: number;
  readonly token: number;
  readonly state: Float32Array;
}

/** Tokens that are drafted for a sequence one after the other. */
interface Chain {
  readonly part: StepPart;
  readonly tokens: number[];
  /** After which the next token is drafted. */
  last: Row;
  /** Whether the layer's logits are no numbers. */
  failed: boolean;
}

/**
 * Has the MTP layer draft tokens, and keeps its KV. An entry needs the trunk's state of the position
 * before, which is kept until then: entries are written when tokens are drafted, when they fill a page,
 * so that whoever reuses the page finds them, and before KV is handed over. While nothing is drafted,
 * that is all that the layer does.
 */
export class Drafter {
  readonly #mtp: Mtp;
  readonly #kv: KvPool;
  readonly #hiddenSize: number;
  readonly #usableTokens: number;
  readonly #contexts = new WeakMap<Sequence, Context>();
  /** Before the first position. */
  readonly #noState: Float32Array;

  constructor(mtp: Mtp, kv: KvPool, hiddenSize: number, usableTokens: number) {
    this.#mtp = mtp;
    this.#kv = kv;
    this.#hiddenSize = hiddenSize;
    this.#usableTokens = usableTokens;
    this.#noState = new Float32Array(hiddenSize);
  }

  /**
   * The parts with tokens drafted for those that want some; told of each pass for how many, and for none
   * when it has caught up with steps without drafts.
   */
  async draft(
    parts: readonly StepPart[],
    onPass: (sequences: number) => void,
  ): Promise<StepPart[]> {
    const chains = new Map<StepPart, Chain>();
    const owed: Row[] = [];
    for (const part of parts) {
      if (part.drafts === 0) continue;
      const rows = this.#rowsOf(part.sequence);
      chains.set(part, { part, tokens: [], last: rows.pop() as Row, failed: false });
      owed.push(...rows);
    }
    let batches = this.#batches(owed);
    if (owed.length > FEW * chains.size) {
      await this.#mtp.write(batches, this.#kv);
      batches = [];
      onPass(0);
    }
    for (;;) {
      const open = [...chains.values()].filter(
        ({ part, tokens, failed }) => tokens.length < part.drafts && !failed,
      );
      if (open.length === 0) break;
      await this.#draftNext(open, batches);
      batches = [];
      onPass(open.length);
    }
    return parts.map((part) => {
      const chain = chains.get(part);
      return chain ? { ...withProposal(part.sequence, chain.tokens), drafts: part.drafts } : part;
    });
  }

  /**
   * Takes in the trunk's states of a step's rows, those of proposals too: which of them stand is told by
   * how far the sequence is computed later. A sequence that was cancelled meanwhile has no pages.
   */
  async follow(parts: readonly StepPart[]): Promise<void> {
    const due: Row[] = [];
    let row = 0;
    for (const { sequence, rows, proposed } of parts) {
      const from = row;
      row += rows;
      if (sequence.pages.length === 0) continue;
      const context = this.#contextOf(sequence);
      const end = sequence.computed + rows;
      this.#keep(context, from, rows);
      if (isDue(sequence, context.written, end)) {
        const tokens = sequence.followedBy(proposed);
        due.push(...this.#rowsUpTo(context, end, sequence.pages, tokens));
      }
      this.#forget(context, end - proposed.length);
    }
    if (due.length > 0) await this.#mtp.write(this.#batches(due), this.#kv);
  }

  /** Drafts a token more for each chain, of which there are no more than rows in a step. */
  async #draftNext(chains: readonly Chain[], owed: readonly MtpBatch[]): Promise<void> {
    const choices = chains.map(({ part: { sequence }, tokens }) =>
      choiceAfter(sequence, sequence.followedBy(tokens)),
    );
    const batch = this.#batch(chains.map(({ last }) => last));
    const logitRows = Int32Array.from(chains, (_, i) => i);
    const options = { choices, usableTokens: this.#usableTokens, owed };
    const drafted = await this.#mtp.draft({ ...batch, logitRows }, this.#kv, options);
    for (const [i, chain] of chains.entries()) {
      const token = tokenOf(() => drafted.chosen(i).token);
      if (token === undefined) {
        chain.failed = true;
        continue;
      }
      const { pages, position } = chain.last;
      const state = this.#stateIn(drafted.states, i);
      chain.last = { pages, position: position + 1, token, state };
      chain.tokens.push(token);
    }
  }

  /** A sequence's last token, and those before it that have no entries yet. */
  #rowsOf(sequence: Sequence): Row[] {
    const { computed, pages, tokens } = sequence;
    const context = this.#contextOf(sequence);
    const rows = this.#rowsUpTo(context, computed + 1, pages, tokens);
    context.draftedAfter = computed;
    this.#forget(context, computed);
    return rows;
  }

  /** Of the positions before `end` that have no entries yet; now they will. */
  #rowsUpTo(
    context: Context,
    end: number,
    pages: readonly number[],
    tokens: ArrayLike<number>,
  ): Row[] {
    const { written, first, states } = context;
    context.written = end;
    return Array.from({ length: end - written }, (_, i) => {
      const position = written + i;
      const state = position === 0 ? this.#noState : this.#stateIn(states, position - 1 - first);
      return { pages, position, token: tokens[position], state };
    });
  }

  /** Without what a step before computed in vain. */
  #contextOf(sequence: Sequence): Context {
    const { computed } = sequence;
    let context = this.#contexts.get(sequence);
    const kept = context ? computed - context.first : 0;
    if (!context || kept < 1 || kept > context.kept) {
      // What others computed has its entries; its last token, which is computed again, has one too.
      const written = computed === 0 ? 0 : computed + 1;
      const states = context?.states ?? new Float32Array(0);
      context = { written, draftedAfter: undefined, first: computed, kept: 0, states };
      this.#contexts.set(sequence, context);
    } else {
      context.kept = kept;
      if (context.draftedAfter !== computed) context.written = Math.min(context.written, computed);
    }
    return context;
  }

  /** Takes in the trunk's states of rows of the last step. */
  #keep(context: Context, firstRow: number, rows: number): void {
    const width = this.#hiddenSize;
    const all = context.kept + rows;
    if (all * width > context.states.length) {
      const states = new Float32Array((all + PAGE_TOKENS) * width);
      states.set(context.states);
      context.states = states;
    }
    const taken = this.#mtp.trunk.subarray(firstRow * width, (firstRow + rows) * width);
    context.states.set(taken, context.kept * width);
    context.kept = all;
  }

  /** Of states that no entry needs any more, given that positions before `end` stand. */
  #forget(context: Context, end: number): void {
    const needless = Math.min(context.written, end) - 1 - context.first;
    if (needless <= 0) return;
    const width = this.#hiddenSize;
    const needed = context.states.subarray(needless * width, context.kept * width);
    // A prompt's chunk needed more room than what comes after it.
    if (context.states.length > 4 * PAGE_TOKENS * width) context.states = needed.slice();
    else context.states.set(needed);
    context.kept -= needless;
    context.first += needless;
  }

  #stateIn(states: Float32Array, row: number): Float32Array {
    return states.slice(row * this.#hiddenSize, (row + 1) * this.#hiddenSize);
  }

  /** Of as many rows as a pass may have. */
  #batches(rows: readonly Row[]): MtpBatch[] {
    const { maxRows } = this.#mtp;
    const count = Math.ceil(rows.length / maxRows);
    return Array.from({ length: count }, (_, i) =>
      this.#batch(rows.slice(i * maxRows, (i + 1) * maxRows)),
    );
  }

  #batch(rows: readonly Row[]): MtpBatch {
    const starts = rows.flatMap(({ pages }, i) => (pages === rows[i - 1]?.pages ? [] : [i]));
    const tableStride = Math.max(0, ...starts.map((i) => rows[i].pages.length));
    const pageTables = new Int32Array(starts.length * tableStride);
    for (const [s, i] of starts.entries()) pageTables.set(rows[i].pages, s * tableStride);
    const states = new Float32Array(rows.length * this.#hiddenSize);
    for (const [i, { state }] of rows.entries()) states.set(state, i * this.#hiddenSize);
    return {
      rows: rows.length,
      tokens: Int32Array.from(rows, ({ token }) => token),
      positions: Int32Array.from(rows, ({ position }) => position),
      rowStarts: Int32Array.of(...starts, rows.length),
      ...{ pageTables, tableStride, states },
      logitRows: new Int32Array(0),
    };
  }
}

/** Whether entries must be written now: others will read them. */
function isDue({ decodeRank }: Sequence, written: number, end: number): boolean {
  const full = Math.floor(end / PAGE_TOKENS) * PAGE_TOKENS;
  return written < full || (decodeRank !== undefined && written < end);
}

/** Logits that are no numbers cost a draft, not the answer. */
function tokenOf(choose: () => number): number | undefined {
  try {
    return choose();
  } catch {
    return undefined;
  }
}
