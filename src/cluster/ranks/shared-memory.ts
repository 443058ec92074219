import { usableCores } from "../../kernels/index.ts";
import { type Traffic, TrafficCounter } from "../counters.ts";
import { SpareMemory } from "../links/index.ts";
import { Mailbox } from "./mailbox.ts";
import { ringBytes, RingReader, RingWriter } from "./ring.ts";
import {
  checkChannel,
  copyOf,
  lengthOf,
  type Message,
  partsOf,
  type PeerLostError,
  type Transport,
  TransportClosedError,
} from "./transport.ts";

/** Memory through which ranks of one process speak; made once, passed to each as workerData. */
export interface SharedSegments {
  /** The ranks of this process, by their numbers in the cluster. */
  readonly ranks: readonly number[];
  /** Data bytes of the ring of each ordered pair of ranks. */
  readonly ringCapacity: number;
  /** A doorbell for each rank, then the rings, those of one sender side by side. */
  readonly memory: SharedArrayBuffer;
}

export interface SegmentOptions {
  /** Bytes between two ranks, a power of two; by default 256 KiB, less where ranks are many. */
  readonly ringCapacity?: number;
}

/** Doorbells lie on cache lines of their own. */
const DOORBELL_BYTES = 64;
const LARGEST_DEFAULT_RING = 256 * 1024;
const SMALLEST_RING = 64;
const DEFAULT_TOTAL_BYTES = 64 * 1024 * 1024;

/** @throws RangeError for a ring capacity that is no power of two. */
export function createSharedSegments(
  ranks: readonly number[],
  options: SegmentOptions = {},
): SharedSegments {
  const pairs = ranks.length ** 2;
  const ringCapacity = options.ringCapacity ?? defaultRingCapacity(pairs);
  if (ringCapacity < SMALLEST_RING || !Number.isInteger(Math.log2(ringCapacity))) {
    throw new RangeError(
      `ringCapacity: expected a power of two from ${SMALLEST_RING}, got ${ringCapacity}`,
    );
  }
  const bytes = ranks.length * DOORBELL_BYTES + pairs * ringBytes(ringCapacity);
  return { ranks: [...ranks], ringCapacity, memory: new SharedArrayBuffer(bytes) };
}

/** All rings together within 64 MiB (of which the system commits what is used), each at least 4 KiB. */
function defaultRingCapacity(pairs: number): number {
  const share = 2 ** Math.floor(Math.log2(DEFAULT_TOTAL_BYTES / pairs));
  return Math.max(4096, Math.min(LARGEST_DEFAULT_RING, share));
}

/** A message that is expected soon is waited for on the doorbell itself, spinning at first. */
const SHORT_SLEEP_MS = 0.5;
const SPIN_MS = 0.05;

interface PendingSend {
  readonly channel: number;
  readonly parts: readonly Uint8Array[];
  readonly resolve: () => void;
  readonly reject: (error: Error) => void;
}

/** Another rank of the process: the rings to it and from it, and what waits for room. */
interface Peer {
  readonly doorbell: number;
  readonly outbound: RingWriter;
  readonly inbound: RingReader;
  readonly deliver: (channel: number, message: Uint8Array) => void;
  readonly pending: PendingSend[];
}

/**
 * Messages between worker threads of one process. Whatever arrives is taken out of the ring at
 * once, on any turn of the event loop; idle threads sleep in Atomics.waitAsync on their doorbell.
 * Waiting does not keep a thread alive by itself: a worker needs something else that does, such as
 * a listener on its parentPort.
 */
export class SharedMemoryTransport implements Transport {
  readonly rank: number;
  readonly #doorbells: Int32Array;
  readonly #doorbell: number;
  readonly #peers: ReadonlyMap<number, Peer>;
  readonly #mailbox: Mailbox;
  readonly #spare: SpareMemory;
  readonly #sent = new TrafficCounter();
  /** Each rank of the process can have a core. */
  readonly #spins: boolean;
  #closed = false;

  /** Mailbox and memory may be shared with another source of messages for the same rank. */
  constructor(
    segments: SharedSegments,
    rank: number,
    mailbox = new Mailbox(),
    spare = new SpareMemory(),
  ) {
    const own = segments.ranks.indexOf(rank);
    if (own < 0)
      throw new RangeError(`rank: expected one of ${segments.ranks.join(", ")}, got ${rank}`);
    this.rank = rank;
    this.#mailbox = mailbox;
    this.#spare = spare;
    const { memory, ranks } = segments;
    this.#spins = ranks.length <= usableCores();
    this.#doorbells = new Int32Array(memory, 0, (ranks.length * DOORBELL_BYTES) / 4);
    this.#doorbell = doorbellOf(own);
    this.#peers = connectPeers(segments, own, { mailbox, spare });
    void this.#listen();
  }

  async send(to: number, channel: number, message: Message): Promise<void> {
    checkChannel(channel);
    this.#mailbox.checkPeer(to);
    this.#sent.add(to, lengthOf(message));
    if (to === this.rank) return this.#mailbox.deliver(to, channel, copyOf(message, this.#spare));
    const peer = this.#peer(to);
    await new Promise<void>((resolve, reject) => {
      peer.pending.push({ channel, parts: partsOf(message), resolve, reject });
      if (peer.pending.length === 1) this.#flush(peer);
    });
  }

  async receive(from: number, channel: number, expected?: "soon"): Promise<Uint8Array> {
    if (from !== this.rank) this.#peer(from);
    this.#drain();
    if (expected && !this.#mailbox.holds(from, channel)) this.#sleepFor(from, channel);
    return this.#mailbox.receive(from, channel);
  }

  release(message: Uint8Array): void {
    this.#spare.give(message);
  }

  async arrival(channel: number, signal: AbortSignal): Promise<void> {
    this.#drain();
    return this.#mailbox.arrival(channel, signal);
  }

  /** Payload sent so far, by destination. */
  counters(): ReadonlyMap<number, Traffic> {
    return this.#sent.counts();
  }

  /** Fails what is and will be under way to and from a rank whose thread has ended. */
  lose(error: PeerLostError): void {
    this.#mailbox.lose(error);
    this.#abandon(this.#peer(error.rank), error);
  }

  close(): void {
    this.#closed = true;
    this.#mailbox.close();
    for (const peer of this.#peers.values()) this.#abandon(peer, new TransportClosedError());
    this.#ring(this.#doorbell);
  }

  /** Serves the rings whenever the doorbell rings. */
  async #listen(): Promise<void> {
    for (let turns = 1; !this.#closed; turns++) {
      const heard = Atomics.load(this.#doorbells, this.#doorbell);
      this.#serve();
      const rung = Atomics.waitAsync(this.#doorbells, this.#doorbell, heard);
      // Rung meanwhile: let the readers run, and now and then timers and ports too.
      await (rung.async || turns % 16 > 0 ? rung.value : nextTurn());
    }
  }

  /** A thread that sleeps on its doorbell wakes sooner than its event loop does. */
  #sleepFor(from: number, channel: number): void {
    const until = performance.now() + SHORT_SLEEP_MS;
    for (let left = SHORT_SLEEP_MS; left > 0; left = until - performance.now()) {
      const heard = Atomics.load(this.#doorbells, this.#doorbell);
      this.#serve();
      if (this.#closed || this.#mailbox.holds(from, channel)) return;
      if (!this.#spins || !this.#hears(heard)) {
        Atomics.wait(this.#doorbells, this.#doorbell, heard, left);
      }
    }
  }

  /** Spins until the doorbell rings or the time to spin is over; whether it has rung. */
  #hears(heard: number): boolean {
    const until = performance.now() + SPIN_MS;
    do {
      for (let i = 0; i < 32; i++) {
        if (Atomics.load(this.#doorbells, this.#doorbell) !== heard) return true;
      }
    } while (performance.now() < until);
    return false;
  }

  /** Takes out what has come, and writes what there is room for. */
  #serve(): void {
    this.#drain();
    for (const peer of this.#peers.values()) this.#flush(peer);
  }

  #drain(): void {
    for (const peer of this.#peers.values()) {
      if (peer.inbound.read(peer.deliver)) this.#ring(peer.doorbell);
    }
  }

  /** Writes what there is room for; the peer rings when it has made more. */
  #flush(peer: Peer): void {
    const { pending, outbound } = peer;
    if (pending.length === 0) return;
    do {
      while (pending.length > 0 && outbound.write(pending[0].channel, pending[0].parts)) {
        pending.shift()?.resolve();
      }
      this.#ring(peer.doorbell);
    } while (pending.length > 0 && outbound.awaitRoom());
  }

  #ring(doorbell: number): void {
    Atomics.add(this.#doorbells, doorbell, 1);
    Atomics.notify(this.#doorbells, doorbell);
  }

  #peer(rank: number): Peer {
    const peer = this.#peers.get(rank);
    if (!peer) throw new RangeError(`rank ${rank} is not in this process`);
    return peer;
  }

  #abandon(peer: Peer, error: Error): void {
    for (const { reject } of peer.pending.splice(0)) reject(error);
  }
}

const nextTurn = () => new Promise<void>((resolve) => setImmediate(resolve));

const doorbellOf = (index: number) => (index * DOORBELL_BYTES) / 4;

function connectPeers(
  { ranks, ringCapacity, memory }: SharedSegments,
  own: number,
  { mailbox, spare }: { readonly mailbox: Mailbox; readonly spare: SpareMemory },
): ReadonlyMap<number, Peer> {
  const offset = (from: number, to: number) =>
    ranks.length * DOORBELL_BYTES + (from * ranks.length + to) * ringBytes(ringCapacity);
  const peers = new Map<number, Peer>();
  for (const [index, rank] of ranks.entries()) {
    if (index === own) continue;
    peers.set(rank, {
      doorbell: doorbellOf(index),
      outbound: new RingWriter(memory, offset(own, index), ringCapacity),
      inbound: new RingReader(memory, offset(index, own), ringCapacity, spare),
      deliver: (channel, message) => mailbox.deliver(rank, channel, message),
      pending: [],
    });
  }
  return peers;
}
