import { PAGE_TOKENS } from "../../kernels/index.ts";
import type { KvPool, Mtp, MtpBatch } from "../../model/index.ts";
import { withProposal, type StepPart } from "./scheduler.ts";
import type { Sequence } from "./sequence.ts";
import { choiceAfter } from "./step-batch.ts";

/** What is known of a sequence between steps. */
interface Context {
  /** Positions before this one have their entries in the MTP layer's plane. */
  written: number;
  /** The position whose token was drafted after, when it was the sequence's last. */
  draftedAfter: number | undefined;
  /** Position of the first state that is kept. */
  first: number;
  /** The trunk's states from there on: of the position before `written`, and of what follows it. */
  states: Float32Array[];
}

/** A row of the MTP layer: a token and the state before it. */
interface Row {
  readonly pages: readonly number[];
  readonly position: number;
  readonly token: number;
  readonly state: Float32Array;
  /** Whose next token is drafted after this row. */
  readonly chain: Chain | undefined;
}

/** Tokens that are drafted for a sequence one after the other. */
interface Chain {
  readonly part: StepPart;
  /** The sequence's, at the step's beginning: it may be cancelled meanwhile. */
  readonly pages: readonly number[];
  readonly end: number;
  readonly tokens: number[];
  /** The layer's own, after the token drafted last. */
  state: Float32Array;
  /** Whether the layer's logits are no numbers. */
  failed: boolean;
}

/**
 * Has the MTP layer draft tokens, and keeps its KV. An entry needs the trunk's state of the position
 * before, which is kept until then: entries are written when tokens are drafted, when they fill a page,
 * so that whoever reuses the page finds them, and before KV is handed over. While nothing is drafted
 * the layer so runs over many rows at a time, which costs little.
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

  /** The parts with tokens drafted for those that want some, and how many passes that took. */
  async draft(parts: readonly StepPart[]): Promise<{ parts: StepPart[]; passes: number }> {
    const wanting = parts.filter(({ drafts }) => drafts > 0);
    const chains = new Map(wanting.map((part) => [part, this.#chainOf(part)]));
    let passes = 0;
    for (;;) {
      const open = [...chains.values()].filter(
        ({ part, tokens, failed }) => tokens.length < part.drafts && !failed,
      );
      if (open.length === 0) break;
      await this.#draftNext(open);
      passes++;
    }
    const drafted = parts.map((part) => {
      const chain = chains.get(part);
      return chain ? { ...withProposal(part.sequence, chain.tokens), drafts: part.drafts } : part;
    });
    return { parts: drafted, passes };
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
      for (let i = from; i < row; i++) context.states.push(this.#stateIn(this.#mtp.trunk, i));
      if (isDue(sequence, context.written, end)) {
        const tokens = sequence.followedBy(proposed);
        for (let p = context.written; p < end; p++) {
          due.push(this.#row(sequence.pages, context, p, tokens[p]));
        }
        context.written = end;
      }
      forget(context, end - proposed.length);
    }
    for (const rows of this.#inPasses(due)) await this.#mtp.forward(this.#batch(rows), this.#kv);
  }

  #chainOf(part: StepPart): Chain {
    const { pages, computed: end } = part.sequence;
    return { part, pages, end, tokens: [], state: this.#noState, failed: false };
  }

  /** Drafts a token more for each chain. */
  async #draftNext(chains: readonly Chain[]): Promise<void> {
    const rows = chains.flatMap((chain) =>
      chain.tokens.length === 0 ? this.#firstRows(chain) : [nextRow(chain)],
    );
    for (const pass of this.#inPasses(rows)) {
      const drafting = pass.flatMap(({ chain }) => chain ?? []);
      const choices = drafting.map(({ part: { sequence }, tokens }) =>
        choiceAfter(sequence, sequence.followedBy(tokens)),
      );
      const batch = this.#batch(pass);
      const { chosen, states } = await this.#mtp.draft(
        batch,
        this.#kv,
        choices,
        this.#usableTokens,
      );
      for (const [i, chain] of drafting.entries()) {
        chain.state = this.#stateIn(states, i);
        const token = tokenOf(() => chosen(i).token);
        if (token === undefined) chain.failed = true;
        else chain.tokens.push(token);
      }
    }
  }

  /** The sequence's last token, and those before it that have no entries yet. */
  #firstRows(chain: Chain): Row[] {
    const { part, pages, end } = chain;
    const { tokens } = part.sequence;
    const context = this.#contextOf(part.sequence);
    const rows: Row[] = [];
    for (let p = context.written; p < end; p++) rows.push(this.#row(pages, context, p, tokens[p]));
    rows.push({ ...this.#row(pages, context, end, tokens[end]), chain });
    context.written = end + 1;
    context.draftedAfter = end;
    forget(context, end);
    return rows;
  }

  #row(pages: readonly number[], context: Context, position: number, token: number): Row {
    const state = position === 0 ? this.#noState : context.states[position - 1 - context.first];
    return { pages, position, token, state, chain: undefined };
  }

  /** Without what a step before computed in vain. */
  #contextOf(sequence: Sequence): Context {
    const { computed } = sequence;
    let context = this.#contexts.get(sequence);
    const kept = context ? computed - context.first : 0;
    if (!context || kept < 1 || kept > context.states.length) {
      // What others computed has its entries; its last token, which is computed again, has one too.
      const written = computed === 0 ? 0 : computed + 1;
      context = { written, draftedAfter: undefined, first: computed, states: [] };
      this.#contexts.set(sequence, context);
    } else {
      context.states.length = kept;
      if (context.draftedAfter !== computed) context.written = Math.min(context.written, computed);
    }
    return context;
  }

  #stateIn(states: Float32Array, row: number): Float32Array {
    return states.slice(row * this.#hiddenSize, (row + 1) * this.#hiddenSize);
  }

  #inPasses(rows: readonly Row[]): Row[][] {
    const { maxRows } = this.#mtp;
    const count = Math.ceil(rows.length / maxRows);
    return Array.from({ length: count }, (_, i) => rows.slice(i * maxRows, (i + 1) * maxRows));
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
      logitRows: Int32Array.from(rows.flatMap(({ chain }, i) => (chain ? [i] : []))),
    };
  }
}

/** After the token drafted last, with the layer's own state. */
function nextRow(chain: Chain): Row {
  const { pages, end, tokens, state } = chain;
  const position = end + tokens.length;
  return { pages, position, token: tokens[tokens.length - 1], state, chain };
}

/** Whether entries must be written now: others will read them. */
function isDue({ decodeRank }: Sequence, written: number, end: number): boolean {
  const full = Math.floor(end / PAGE_TOKENS) * PAGE_TOKENS;
  return written < full || (decodeRank !== undefined && written < end);
}

/** States that no entry needs any more, given that positions before `end` stand. */
function forget(context: Context, end: number): void {
  const needless = Math.min(context.written, end) - 1 - context.first;
  if (needless <= 0) return;
  context.states.splice(0, needless);
  context.first += needless;
}

/** Logits that are no numbers cost a draft, not the answer. */
function tokenOf(choose: () => number): number | undefined {
  try {
    return choose();
  } catch {
    return undefined;
  }
}
