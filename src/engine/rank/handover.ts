import { channels, type Transport } from "../../cluster/index.ts";
import {
  ArrivingKv,
  decodeTransfer,
  encodeTransfer,
  readEntries,
  type PagedKv,
  type TransferMessage,
} from "../../kv-cache/index.ts";
import type { GenerationRequest } from "../messages.ts";
import type { StepPart } from "./scheduler.ts";
import type { Sequence } from "./sequence.ts";

/** The prefill side: sends a prompt's KV to its decode rank, layer by layer while it is computed. */
export class PrefillSender {
  readonly #transport: Transport;
  readonly #kv: PagedKv;

  constructor(transport: Transport, kv: PagedKv) {
    this.#transport = transport;
    this.#kv = kv;
  }

  /** Sends what a step's parts add in one layer, cached prefixes included. */
  sendLayer(parts: readonly StepPart[], layer: number): void {
    for (const { sequence, rows } of parts) {
      const { sent, pages, computed, handle } = sequence;
      const end = computed + rows;
      // After a preemption positions are computed again, to the same bits.
      if (sequence.decodeRank === undefined || end <= sent) continue;
      const bytes = readEntries(this.#kv, layer, pages, sent, end);
      const count = end - sent;
      this.#send(sequence.decodeRank, {
        kind: "entries",
        handle,
        layer,
        first: sent,
        count,
        bytes,
      });
    }
  }

  /** Takes note that all layers of a part are sent. */
  complete({ sequence, rows }: StepPart): void {
    sequence.sent = Math.max(sequence.sent, sequence.computed + rows);
  }

  handOver(sequence: Sequence, token: number): void {
    this.#send(sequence.decodeRank, { kind: "handover", handle: sequence.handle, token });
  }

  /** Tells the decode rank to expect nothing more. */
  abandon(handle: number, decodeRank: number | undefined): void {
    this.#send(decodeRank, { kind: "abandon", handle });
  }

  #send(decodeRank: number | undefined, message: TransferMessage): void {
    if (decodeRank === undefined) return;
    // A lost peer's requests are ended by whoever watches over the ranks.
    this.#transport
      .send(decodeRank, channels.transfer, encodeTransfer(message))
      .catch(() => undefined);
  }
}

/** A sequence that is complete on the decode side. */
export interface HandedOver {
  readonly handle: number;
  readonly request: GenerationRequest;
  /** The first generated token. */
  readonly token: number;
  readonly kv: ArrivingKv;
}

/** What is known of a sequence whose KV is on its way: request and KV come on different paths. */
interface Arrival {
  readonly prefillRank: number;
  readonly early: TransferMessage[];
  expected?: { readonly request: GenerationRequest; readonly kv: ArrivingKv };
  cancelled: boolean;
}

/** The decode side: keeps arriving KV beside the pool until a sequence is whole. */
export class PrefillReceiver {
  readonly #kv: PagedKv;
  readonly #arrivals = new Map<number, Arrival>();

  constructor(kv: PagedKv) {
    this.#kv = kv;
  }

  /** Sequences whose KV is on its way. */
  get arriving(): number {
    return this.#arrivals.size;
  }

  /** The request of a sequence that a prefill rank will hand over. */
  expect(handle: number, request: GenerationRequest, prefillRank: number): HandedOver | undefined {
    const arrival = this.#arrival(handle, prefillRank);
    const kv = new ArrivingKv(this.#kv, request.prompt.length);
    arrival.expected = { request, kv };
    return arrival.early
      .splice(0)
      .map((message) => this.#take(arrival, message))
      .find((whole) => whole !== undefined);
  }

  /** Drops what has come; what is still under way is dropped on arrival. */
  cancel(handle: number): void {
    const arrival = this.#arrivals.get(handle);
    if (!arrival) return;
    arrival.cancelled = true;
    delete arrival.expected;
  }

  /** A prefill rank is lost; sequences it has not handed over never come. */
  lose(prefillRank: number): number[] {
    const orphans: number[] = [];
    for (const [handle, arrival] of this.#arrivals) {
      if (arrival.prefillRank !== prefillRank) continue;
      this.#arrivals.delete(handle);
      if (arrival.expected) orphans.push(handle);
    }
    return orphans;
  }

  /** @throws TransferError for a message that says nothing. */
  accept(prefillRank: number, encoded: Uint8Array): HandedOver | undefined {
    const message = decodeTransfer(encoded);
    const arrival = this.#arrival(message.handle, prefillRank);
    if (!arrival.expected && !arrival.cancelled) {
      arrival.early.push(message);
      return undefined;
    }
    return this.#take(arrival, message);
  }

  #take(arrival: Arrival, message: TransferMessage): HandedOver | undefined {
    const { expected } = arrival;
    if (message.kind === "entries") {
      expected?.kv.accept(message);
      return undefined;
    }
    this.#arrivals.delete(message.handle);
    if (!expected || message.kind === "abandon") return undefined;
    return { handle: message.handle, token: message.token, ...expected };
  }

  #arrival(handle: number, prefillRank: number): Arrival {
    let arrival = this.#arrivals.get(handle);
    if (!arrival) {
      arrival = { prefillRank, early: [], cancelled: false };
      this.#arrivals.set(handle, arrival);
    }
    return arrival;
  }
}
