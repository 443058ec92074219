import { channels, type Clock, type Transport } from "../../cluster/index.ts";
import {
  encodeTransfer,
  TransferError,
  writeEntries,
  type KvEntries,
  type Lent,
  type Loan,
  type TransferMessage,
} from "../../kv-cache/index.ts";
import { PAGE_TOKENS } from "../../kernels/index.ts";
import type { KvPool } from "../../model/index.ts";
import { readPiece } from "./kv-piece.ts";
import type { Sequence } from "./sequence.ts";

/** What a prefill rank says. */
export type FromPrefill = Exclude<TransferMessage, { readonly kind: "grant" | "lent" }>;

/** Who finds pages for the sequences that arrive, and goes on with them. */
export interface ReceiverListener {
  /** Its prefill rank has begun: it needs pages. */
  readonly onOffered: (sequence: Sequence) => void;
  /** Its KV is in its pages; the token is the first generated one. */
  readonly onArrived: (sequence: Sequence, token: number) => void;
  /** Its prefill rank has ended it, and says so to the client. */
  readonly onAbandoned: (sequence: Sequence) => void;
  /** Its prefill rank could not be told. */
  readonly onFailed: (sequence: Sequence, error: Error) => void;
}

/** Of so many last loans the fastest is told. */
const LOANS = 3;

/** A sequence that its prefill rank has not yet handed over or abandoned. */
interface Arrival {
  readonly prefillRank: number;
  /** Undefined once it is over here: what still comes is dropped. */
  sequence: Sequence | undefined;
  granted: boolean;
  /** By layer: positions from here on are still to come. */
  readonly received: Int32Array;
}

/**
 * The decode side of the hand-over: KV goes straight into pages that were reserved before the
 * prefill rank was allowed to send it. Request and offer come on different paths, in any order.
 */
export class PrefillReceiver {
  readonly #transport: Transport | undefined;
  readonly #kv: KvPool;
  readonly #clock: Clock;
  readonly #listener: ReceiverListener;
  #lentBlocks = 0;
  /** Milliseconds a block of the last loans. */
  readonly #loanMs: number[] = [];
  readonly #arrivals = new Map<number, Arrival>();
  /** What came of sequences before their requests. */
  readonly #early = new Map<
    number,
    { readonly prefillRank: number; readonly message: FromPrefill }
  >();

  constructor(
    transport: Transport | undefined,
    kv: KvPool,
    clock: Clock,
    listener: ReceiverListener,
  ) {
    this.#transport = transport;
    this.#kv = kv;
    this.#clock = clock;
    this.#listener = listener;
  }

  /** What was lent to prefill ranks since the start. */
  get lent(): Lent {
    // The fastest is believed: a machine's stalls, and full windows, are not the way's.
    const isKnown = this.#loanMs.length === LOANS;
    return { blocks: this.#lentBlocks, ...(isKnown && { msPerBlock: Math.min(...this.#loanMs) }) };
  }

  /** A prefill rank will offer this sequence; undefined: one that is already over here. */
  expect(handle: number, prefillRank: number, sequence: Sequence | undefined): void {
    const received = new Int32Array(this.#kv.layers.length);
    this.#arrivals.set(handle, { prefillRank, sequence, granted: false, received });
    const early = this.#early.get(handle);
    this.#early.delete(handle);
    if (early) this.accept(prefillRank, early.message);
  }

  /**
   * The sequence has pages for its whole prompt. The prefill rank is lent what it lacks and this one has, and may
   * then send what is not yet here.
   */
  async grant(sequence: Sequence): Promise<void> {
    const { handle, computed: first } = sequence;
    const arrival = this.#arrivals.get(handle) as Arrival;
    arrival.granted = true;
    arrival.received.fill(first);
    const message = encodeTransfer({ kind: "grant", handle, first });
    try {
      if (!(await this.#lend(sequence, arrival, first))) return;
      await this.#send(arrival, message);
    } catch (error) {
      this.#listener.onFailed(sequence, error as Error);
    }
  }

  /** Lends positions up to `end` as far as they are wanted; false if the sequence is over meanwhile. */
  async #lend(sequence: Sequence, arrival: Arrival, end: number): Promise<boolean> {
    const { handle, pages, loan } = sequence;
    if (!loan) return true;
    const last = Math.min(end, loan.first + loan.count);
    const began = this.#clock.now();
    for (const layer of this.#kv.layers.keys()) {
      for (let first = loan.first; first < last;) {
        // Its pages may be another's by now.
        if (!arrival.sequence) return false;
        const piece = readPiece(this.#kv, pages, { layer, first, end: last });
        first += piece.count;
        await this.#send(arrival, encodeTransfer({ kind: "lent", handle, ...piece }));
      }
    }
    const blocks = Math.max(0, last - loan.first) / PAGE_TOKENS;
    if (blocks > 0) this.#loanMs.push((this.#clock.now() - began) / blocks);
    if (this.#loanMs.length > LOANS) this.#loanMs.shift();
    this.#lentBlocks += blocks;
    return arrival.sequence !== undefined;
  }

  async #send({ prefillRank }: Arrival, message: Uint8Array): Promise<void> {
    await this.#transport?.send(prefillRank, channels.transfer, message);
  }

  /** Drops what is still under way. */
  cancel(handle: number): void {
    const arrival = this.#arrivals.get(handle);
    if (arrival) arrival.sequence = undefined;
  }

  /** A prefill rank is lost: sequences that it has not handed over, which never come. */
  lose(prefillRank: number): Sequence[] {
    for (const [handle, early] of this.#early) {
      if (early.prefillRank === prefillRank) this.#early.delete(handle);
    }
    const lost = [...this.#arrivals].filter(([, arrival]) => arrival.prefillRank === prefillRank);
    for (const [handle] of lost) this.#arrivals.delete(handle);
    return lost.flatMap(([, { sequence }]) => sequence ?? []);
  }

  /** @throws TransferError for what a prefill rank should not say */
  accept(prefillRank: number, message: FromPrefill): void {
    const { kind, handle } = message;
    const arrival = this.#arrivals.get(handle);
    if (!arrival && (kind === "offer" || kind === "abandon")) {
      this.#early.set(handle, { prefillRank, message });
      return;
    }
    if (arrival?.prefillRank !== prefillRank) {
      throw new TransferError(`rank ${prefillRank} says ${kind} of a sequence that it has not`);
    }
    const { sequence } = arrival;
    if (kind === "handover" || kind === "abandon") this.#arrivals.delete(handle);
    if (!sequence) return;
    if (kind === "offer") this.#takeOffer(sequence, message);
    else if (kind === "abandon") this.#listener.onAbandoned(sequence);
    else if (!arrival.granted) throw new TransferError(`${kind} of a sequence without a grant`);
    else if (kind === "entries") this.#take(sequence, arrival, message);
    else {
      expectWhole(sequence, arrival);
      this.#listener.onArrived(sequence, message.token);
    }
  }

  #takeOffer(sequence: Sequence, { first, count, computeMs }: Loan): void {
    const wanted = first >= 0 && count >= 0 && first + count <= sequence.givenLength;
    if (!wanted || first % PAGE_TOKENS > 0 || count % PAGE_TOKENS > 0) {
      throw new TransferError(
        `an offer that lacks ${count} positions from ${first} makes no sense`,
      );
    }
    if (count > 0) sequence.loan = { first, count, computeMs };
    this.#listener.onOffered(sequence);
  }

  #take(sequence: Sequence, { received }: Arrival, entries: KvEntries): void {
    const { layer, first, count } = entries;
    const { givenLength, pages } = sequence;
    if (first !== received[layer] || first + count > givenLength) {
      const said = `entries from ${first} to ${first + count} in layer ${layer}`;
      throw new TransferError(`${said}: expected ${received[layer]} to ${givenLength} at most`);
    }
    writeEntries(this.#kv, pages, entries);
    received[layer] += count;
  }
}

function expectWhole({ givenLength }: Sequence, { received }: Arrival): void {
  const layer = received.findIndex((position) => position !== givenLength);
  if (layer < 0) return;
  const got = `${received[layer]} of ${givenLength} positions in layer ${layer}`;
  throw new TransferError(`handed over with ${got}`);
}
