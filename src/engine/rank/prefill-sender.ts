import { afterAwake, channels, type Clock, type Transport } from "../../cluster/index.ts";
import { PAGE_TOKENS } from "../../kernels/index.ts";
import {
  encodeTransfer,
  TransferError,
  writeEntries,
  type KvEntries,
  type Loan,
  type TransferMessage,
} from "../../kv-cache/index.ts";
import type { KvPool } from "../../model/index.ts";
import type { EngineStats } from "../messages.ts";
import { readPiece } from "./kv-piece.ts";
import type { StepPart } from "./scheduler.ts";
import type { Sequence } from "./sequence.ts";

/** Milliseconds that a decode rank has beyond those in which what it lends would be computed. */
const LOAN_MS = 500;
const noLoan: Loan = { first: 0, count: 0, computeMs: 0 };

/** Who owns the sequences that are sent. */
export interface SenderListener {
  /** The decode rank has all of it: the sequence is over here. */
  readonly onHandedOver: (sequence: Sequence) => void;
  readonly onFailed: (sequence: Sequence, error: Error) => void;
  /** So many blocks have come of those that the decode rank was asked for: all it has, or all in time. */
  readonly onLent: (sequence: Sequence, blocks: number, isLate: boolean) => void;
}

/** What a sequence waits for from its decode rank. */
interface Borrowing {
  readonly loan: Loan;
  /** By layer: positions from here on are still to come. */
  readonly received: Int32Array;
  readonly stopTimer: () => void;
}

/** A sequence whose KV goes to its decode rank. */
interface Outgoing {
  readonly sequence: Sequence;
  readonly decodeRank: number;
  granted: boolean;
  /** By layer: positions from here on are still to be sent. */
  readonly sent: Int32Array;
  /** By layer: positions before this one are computed. */
  readonly computed: Int32Array;
  /** The first generated token, once the prompt is computed. */
  token: number | undefined;
  borrowing: Borrowing | undefined;
}

/**
 * The prefill side of the hand-over. A prompt is offered when its computation begins; once the decode
 * rank has pages for it, its KV is read out of the pool and sent, layer by layer while it is computed.
 * To each decode rank one piece is on its way at a time, so that nothing piles up beside the pool.
 */
export class PrefillSender {
  readonly #transport: Transport;
  readonly #kv: KvPool;
  readonly #clock: Clock;
  readonly #listener: SenderListener;
  /** By handle, in order of their offers. */
  readonly #outgoing = new Map<number, Outgoing>();
  /** Decode ranks to which a piece is on its way. */
  readonly #sending = new Set<number>();
  readonly #handedOver = { sequences: 0, tokens: 0, bytes: 0 };

  constructor(transport: Transport, kv: KvPool, clock: Clock, listener: SenderListener) {
    this.#transport = transport;
    this.#kv = kv;
    this.#clock = clock;
    this.#listener = listener;
  }

  /** Since the start: sequences, and the positions and bytes of KV that were sent of them. */
  get handedOver(): NonNullable<EngineStats["handedOver"]> {
    return { ...this.#handedOver };
  }

  /** Asks the decode rank for room, and for the blocks that the sequence is to borrow. */
  offer(sequence: Sequence, decodeRank: number): void {
    const layers = this.#kv.layers.length;
    const { loan = noLoan, handle } = sequence;
    const outgoing: Outgoing = {
      ...{ sequence, decodeRank, granted: false, token: undefined, borrowing: undefined },
      sent: new Int32Array(layers),
      computed: new Int32Array(layers),
    };
    this.#outgoing.set(handle, outgoing);
    if (loan.count > 0) {
      const late = () => this.#endLoan(outgoing, true);
      outgoing.borrowing = {
        ...{ loan, received: new Int32Array(layers).fill(loan.first) },
        stopTimer: afterAwake(this.#clock, loan.computeMs + LOAN_MS, late),
      };
    }
    void this.#tryToSend(outgoing, { kind: "offer", handle, ...loan });
  }

  /**
   * Takes what a decode rank lends; nothing where nobody waits for it any more.
   * @throws TransferError for what was not asked of it
   */
  borrow(rank: number, entries: KvEntries<"lent">): void {
    const { handle, layer, first, count } = entries;
    const { borrowing, decodeRank, sequence } = this.#outgoing.get(handle) ?? {};
    if (!borrowing || !sequence) return;
    const { loan, received } = borrowing;
    const fits = first === received[layer] && first + count <= loan.first + loan.count;
    if (rank !== decodeRank || !fits) {
      throw new TransferError(
        `rank ${rank} lends ${count} entries from ${first} in layer ${layer}`,
      );
    }
    writeEntries(this.#kv, sequence.pages, entries);
    received[layer] += count;
  }

  /** All that is to come of what a sequence borrows is there, or it waits no longer. */
  #endLoan(outgoing: Outgoing, isLate: boolean): void {
    const { borrowing, sequence } = outgoing;
    if (!borrowing) return;
    outgoing.borrowing = undefined;
    borrowing.stopTimer();
    const positions = Math.min(...borrowing.received) - borrowing.loan.first;
    this.#listener.onLent(sequence, Math.floor(positions / PAGE_TOKENS), isLate);
  }

  /** It is over here, or its decode rank goes on with it. */
  #forget(handle: number): void {
    this.#outgoing.get(handle)?.borrowing?.stopTimer();
    this.#outgoing.delete(handle);
  }

  /**
   * The decode rank has room for a sequence, and already holds what is before position `first`.
   * @throws TransferError for a grant that makes no sense
   */
  grant(handle: number, first: number): void {
    const outgoing = this.#outgoing.get(handle);
    // It may have been cancelled here meanwhile.
    if (!outgoing) return;
    const { givenLength } = outgoing.sequence;
    if (outgoing.granted || first < 0 || first > givenLength) {
      throw new TransferError(`a grant from position ${first} of ${givenLength} makes no sense`);
    }
    outgoing.granted = true;
    outgoing.sent.fill(first);
    this.#endLoan(outgoing, false);
    void this.#sendAll(outgoing.decodeRank);
  }

  /** Whether layers of a step may be sent before the step ends. */
  sendsLayersOf(parts: readonly StepPart[]): boolean {
    return parts.some(({ sequence }) => this.#outgoing.get(sequence.handle)?.granted);
  }

  /** A layer of a step's parts is computed. */
  completeLayer(parts: readonly StepPart[], layer: number): void {
    for (const { sequence, rows } of parts) {
      const outgoing = this.#outgoing.get(sequence.handle);
      if (!outgoing) continue;
      outgoing.computed[layer] = sequence.computed + rows;
      void this.#sendAll(outgoing.decodeRank);
    }
  }

  /** All layers of a sequence are computed so far. */
  complete({ handle, computed }: Sequence): void {
    const outgoing = this.#outgoing.get(handle);
    if (!outgoing) return;
    outgoing.computed.fill(computed);
    void this.#sendAll(outgoing.decodeRank);
  }

  /** The prompt is computed: when all of it is sent, the decode rank goes on after this token. */
  handOver({ handle }: Sequence, token: number): void {
    const outgoing = this.#outgoing.get(handle);
    if (!outgoing) return;
    outgoing.token = token;
    void this.#sendAll(outgoing.decodeRank);
  }

  /** Tells the decode rank to expect nothing more. */
  abandon(handle: number, decodeRank: number): void {
    this.#forget(handle);
    // Nobody here waits for it: a decode rank that cannot be told is lost.
    this.#send(decodeRank, { kind: "abandon", handle }).catch(() => undefined);
  }

  async #sendAll(decodeRank: number): Promise<void> {
    if (this.#sending.has(decodeRank)) return;
    this.#sending.add(decodeRank);
    for (;;) {
      const next = [...this.#outgoing.values()].find(
        (outgoing) => outgoing.decodeRank === decodeRank && hasMore(outgoing),
      );
      if (!next) break;
      await this.#sendNext(next);
    }
    this.#sending.delete(decodeRank);
  }

  /** Sends a piece of a layer, or the hand-over once there is none left. */
  async #sendNext(outgoing: Outgoing): Promise<void> {
    const { sequence, sent, computed, token } = outgoing;
    const { handle, pages } = sequence;
    const layer = firstUnsent(outgoing);
    if (layer < 0) {
      this.#forget(handle);
      const message = { kind: "handover", handle, token: token as number } as const;
      if (!(await this.#tryToSend(outgoing, message))) return;
      this.#handedOver.sequences++;
      this.#listener.onHandedOver(sequence);
      return;
    }
    const first = sent[layer];
    const piece = readPiece(this.#kv, pages, { layer, first, end: computed[layer] });
    sent[layer] += piece.count;
    this.#handedOver.bytes += piece.bytes.length;
    // Each position has an entry in every layer.
    if (layer === 0) this.#handedOver.tokens += piece.count;
    await this.#tryToSend(outgoing, { kind: "entries", handle, ...piece });
  }

  /** Whether it was sent; if not, the sequence is over. */
  async #tryToSend({ sequence, decodeRank }: Outgoing, message: TransferMessage): Promise<boolean> {
    try {
      await this.#send(decodeRank, message);
      return true;
    } catch (error) {
      this.#forget(sequence.handle);
      this.#listener.onFailed(sequence, error as Error);
      return false;
    }
  }

  async #send(decodeRank: number, message: TransferMessage): Promise<void> {
    await this.#transport.send(decodeRank, channels.transfer, encodeTransfer(message));
  }
}

/** The first layer with computed positions that are not sent; −1 if there is none. */
function firstUnsent({ sent, computed }: Outgoing): number {
  return sent.findIndex((position, layer) => position < computed[layer]);
}

function hasMore(outgoing: Outgoing): boolean {
  return outgoing.granted && (outgoing.token !== undefined || firstUnsent(outgoing) >= 0);
}
