import { type Traffic, TrafficCounter } from "../counters.ts";
import { MAXIMUM_MESSAGE_BYTES, MAXIMUM_RANK, SpareMemory } from "../links/index.ts";
import { Mailbox } from "./mailbox.ts";
import type { RankCommand, RankEndpoint, RankReport } from "./rank-messages.ts";
import { SharedMemoryTransport } from "./shared-memory.ts";
import {
  checkChannel,
  copyOf,
  lengthOf,
  type Message,
  PeerLostError,
  type Transport,
  TransportClosedError,
} from "./transport.ts";

/** Bytes to one rank of another node on their way before a sender has to wait. */
const WINDOW_BYTES = 1024 * 1024;

/** What is on its way to a rank of another node, and who waits for room. */
interface Outbound {
  bytes: number;
  readonly waiting: { readonly resolve: () => void; readonly reject: (error: Error) => void }[];
}

/**
 * A rank's transport on its node: shared memory to ranks that the node started along with it, and to
 * others through the node's main thread. Keeps its thread alive until closed, and closes when that thread ends.
 */
export class RankTransport implements Transport {
  readonly rank: number;
  readonly #endpoint: RankEndpoint;
  readonly #mailbox = new Mailbox();
  readonly #spare = new SpareMemory();
  readonly #local: SharedMemoryTransport;
  readonly #localRanks: ReadonlySet<number>;
  readonly #outbound = new Map<number, Outbound>();
  readonly #sent = new TrafficCounter();
  readonly #onLost: (error: PeerLostError) => void;

  /** `lost` is called once for each rank that is lost, after what was under way has rejected. */
  constructor(endpoint: RankEndpoint, lost: (error: PeerLostError) => void = () => undefined) {
    this.rank = endpoint.rank;
    this.#endpoint = endpoint;
    this.#onLost = lost;
    this.#local = new SharedMemoryTransport(
      endpoint.segments,
      endpoint.rank,
      this.#mailbox,
      this.#spare,
    );
    this.#localRanks = new Set(endpoint.segments.ranks);
    endpoint.port.on("message", (report: RankReport) => this.#hear(report));
    endpoint.port.on("close", () => this.close());
  }

  async send(to: number, channel: number, message: Message, asked?: "asked"): Promise<void> {
    if (this.#localRanks.has(to)) return this.#local.send(to, channel, message);
    checkChannel(channel);
    checkRank(to);
    this.#mailbox.checkPeer(to);
    const bytes = lengthOf(message);
    if (bytes > MAXIMUM_MESSAGE_BYTES) {
      throw new RangeError(
        `message: expected at most ${MAXIMUM_MESSAGE_BYTES} bytes, got ${bytes}`,
      );
    }
    this.#sent.add(to, bytes);
    const own = copyOf(message, this.#spare);
    this.#endpoint.port.postMessage({ to, channel, message: own } satisfies RankCommand, [
      own.buffer,
    ]);
    await this.#awaitRoom(to, bytes, asked);
  }

  async receive(from: number, channel: number, expected?: "soon"): Promise<Uint8Array> {
    if (this.#localRanks.has(from)) return this.#local.receive(from, channel, expected);
    checkRank(from);
    return this.#mailbox.receive(from, channel);
  }

  release(message: Uint8Array): void {
    this.#spare.give(message);
  }

  async arrival(channel: number, signal: AbortSignal): Promise<void> {
    return this.#local.arrival(channel, signal);
  }

  /** Payload sent so far, by destination. */
  counters(): ReadonlyMap<number, Traffic> {
    return new Map([...this.#local.counters(), ...this.#sent.counts()]);
  }

  close(): void {
    this.#local.close();
    for (const outbound of this.#outbound.values()) abandon(outbound, new TransportClosedError());
    this.#endpoint.port.close();
  }

  #hear(report: RankReport): void {
    if (report.kind === "message") {
      this.#mailbox.deliver(report.from, report.channel, report.message);
    } else if (report.kind === "sent") this.#release(report.to, report.bytes);
    else this.#lose(new PeerLostError(report.rank, report.reason));
  }

  #lose(error: PeerLostError): void {
    if (this.#localRanks.has(error.rank)) this.#local.lose(error);
    else this.#mailbox.lose(error);
    const outbound = this.#outbound.get(error.rank);
    if (outbound) abandon(outbound, error);
    this.#onLost(error);
  }

  async #awaitRoom(to: number, bytes: number, asked?: "asked"): Promise<void> {
    const outbound = this.#outbound.get(to) ?? { bytes: 0, waiting: [] };
    this.#outbound.set(to, outbound);
    outbound.bytes += bytes;
    if (asked || outbound.bytes <= WINDOW_BYTES) return;
    await new Promise<void>((resolve, reject) => outbound.waiting.push({ resolve, reject }));
  }

  #release(to: number, bytes: number): void {
    const outbound = this.#outbound.get(to);
    if (!outbound) return;
    outbound.bytes -= bytes;
    if (outbound.bytes > WINDOW_BYTES) return;
    for (const { resolve } of outbound.waiting.splice(0)) resolve();
  }
}

/** Whether there is such a rank its node's main thread knows. */
function checkRank(rank: number): void {
  if (Number.isInteger(rank) && rank >= 0 && rank <= MAXIMUM_RANK) return;
  throw new RangeError(`rank: expected 0 to ${MAXIMUM_RANK}, got ${rank}`);
}

function abandon(outbound: Outbound, error: Error): void {
  for (const { reject } of outbound.waiting.splice(0)) reject(error);
}
