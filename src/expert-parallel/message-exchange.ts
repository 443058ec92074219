import { channels } from "../cluster/index.ts";
import {
  createOperand,
  createStoredRows,
  operandRowBytes,
  precisions,
  type Operand,
  type StoredRows,
} from "../kernels/index.ts";
import type { ExpertBatch, ExpertOutput } from "../model/index.ts";
import { dispatchLayout, exclusiveSums, type DispatchLayout } from "./layout.ts";
import { GroupedPairs } from "./pairs.ts";
import type { LayerPlacement } from "./placement.ts";
import type { ArrivedRows, RowExchange, SlotRange, UnitExperts } from "./row-exchange.ts";
import {
  decodeDispatch,
  DispatchError,
  encodeDispatch,
  placeOwnRows,
  placeRows,
  storedBytes,
  type ReceivedRows,
} from "./wire.ts";

interface Dispatched {
  readonly batch: ExpertBatch;
  readonly slots: number;
  readonly layout: DispatchLayout;
  readonly bytesTo: Float64Array;
  /** Bytes of outputs of each rank's experts that have come home. */
  readonly home: Float64Array;
}

/**
 * Of so many rows at most, as decoding has them, each rank's have a fixed place here (DeepEP's low-latency
 * form): they are put there as they come, while others are under way.
 */
const FIXED_ROWS = 128;

/** Outputs go home in parts of about so many bytes for all other ranks, but in no more parts than these. */
const PART_BYTES = 256 * 1024;
export const MOST_PARTS = 4;

/**
 * Rows as messages of any transport, one to each rank and one or some back, in buffers that grow as needed.
 * Where a rank sends more rows than have a fixed place, as with prompts, all are placed behind each other once they
 * have come, and no memory is lost between them.
 */
export class MessageExchange implements RowExchange {
  readonly #unit: UnitExperts;
  /** Indices in the unit of the other ranks. */
  readonly #others: readonly number[];
  #dispatched: Dispatched | undefined;
  #fixed: Operand | undefined;
  #arrived: Operand | undefined;
  #arrivedRows = 0;
  #groups: GroupedPairs | undefined;
  /** [rows × topK, hidden], by rank and then as dispatched */
  #returned: StoredRows;

  constructor(unit: UnitExperts) {
    this.#unit = unit;
    this.#others = unit.unit.ranks.map((_, index) => index).filter((index) => index !== unit.own);
    this.#returned = createStoredRows(precisions[unit.stream.policy].rows, 0);
  }

  async dispatch(batch: ExpertBatch, placement: LayerPlacement, gated: () => void): Promise<void> {
    await this.#unit.stream.fence();
    gated();
    const { rule, own, traffic } = this.#unit;
    const { layer, ids, rows, input, microBatch } = batch;
    const layout = dispatchLayout(ids, rows, rule.topK, placement, own);
    const { loads, rowsTo, bytesTo } = traffic.countsOf(layer);
    for (const id of ids.subarray(0, rows * rule.topK)) loads[id]++;
    layout.parts.forEach((part, rank) => (rowsTo[rank] += part.rows.length));
    const home = new Float64Array(layout.parts.length);
    this.#returned = this.#storedRows(this.#returned, layout.places.length);
    this.#dispatched = { batch, slots: placement.slots, layout, bytesTo, home };
    for (const rank of this.#others) {
      this.#send(rank, channels.dispatch(microBatch), encodeDispatch(layout.parts[rank], input));
    }
  }

  async receive(): Promise<ArrivedRows> {
    const { batch, slots, layout } = this.#inFlight;
    const { own } = this.#unit;
    const like = batch.input;
    const ownPart = layout.parts[own];
    const ownRows = { ...ownPart, rows: ownPart.rows.length };
    const fixed = this.#fixedPlaces(like);
    const received = new Map<number, ReceivedRows>();
    let fits = ownRows.rows <= FIXED_ROWS;
    if (fits) placeOwnRows(fixed, own * FIXED_ROWS, ownPart, like);
    await this.#take(async (rank, next) => {
      const rows = decodeDispatch(await next(channels.dispatch(batch.microBatch)), like, slots);
      received.set(rank, rows);
      fits &&= rows.rows <= FIXED_ROWS;
      if (fits) placeRows(fixed, rank * FIXED_ROWS, rows);
    });
    const parts = layout.parts.map((_, rank) => received.get(rank) ?? ownRows);
    const firstRows = fits
      ? parts.map((_, rank) => rank * FIXED_ROWS)
      : exclusiveSums(parts.map(({ rows }) => rows));
    const input = fits ? fixed : this.#placeBehind(received, firstRows);
    const groups = new GroupedPairs(parts, firstRows, slots);
    this.#groups = groups;
    const pairs = groups.sources.length;
    return { input, groups, pairs, parts: batch.overlaps ? this.#partsOf(pairs, slots) : 1 };
  }

  /** How many parts pay for waiting for the stream once more. */
  #partsOf(pairs: number, slots: number): number {
    const others = this.#others.length / (this.#others.length + 1);
    const parts = Math.floor((others * pairs * this.#outputBytes) / PART_BYTES);
    return Math.max(1, Math.min(parts, MOST_PARTS, slots));
  }

  /** All rows behind each other, those of a rank from its first on. */
  #placeBehind(received: ReadonlyMap<number, ReceivedRows>, firstRows: readonly number[]): Operand {
    const { batch, layout } = this.#inFlight;
    const { own } = this.#unit;
    let rows = layout.parts[own].rows.length;
    for (const each of received.values()) rows += each.rows;
    const input = this.#operandFor(rows, batch.input);
    placeOwnRows(input, firstRows[own], layout.parts[own], batch.input);
    for (const [rank, each] of received) placeRows(input, firstRows[rank], each);
    return input;
  }

  /** Outputs go home by slot, in the order of a rank's pairs inside one. */
  async returnRows(outputs: StoredRows, computed: () => void, slots: SlotRange): Promise<void> {
    const { stream, hidden, own, unit } = this.#unit;
    await stream.fence();
    computed();
    const channel = channels.combine(this.#inFlight.batch.microBatch);
    for (const rank of unit.ranks.keys()) {
      const ranges = [...this.#arrivedPairs.rangesOf(rank, slots)];
      const bytes = ranges.map(([from, to]) => storedBytes(outputs, from * hidden, to * hidden));
      if (rank === own) for (const each of bytes) this.#bringHome(own, each);
      else if (bytes.length > 0) this.#send(rank, channel, joined(bytes));
    }
  }

  async takeHome(): Promise<ExpertOutput> {
    const { batch, layout, home } = this.#inFlight;
    await this.#take(async (rank, next) => {
      const bytes = layout.parts[rank].pairRows.length * this.#outputBytes;
      while (home[rank] < bytes) {
        this.#bringHome(rank, await next(channels.combine(batch.microBatch)));
      }
    });
    return { expertRows: this.#returned, places: layout.places };
  }

  /** Puts outputs of a rank's experts behind those that have come before. */
  #bringHome(rank: number, outputs: Uint8Array): void {
    const { layout, home } = this.#inFlight;
    const { hidden } = this.#unit;
    const pairs = layout.parts.map(({ pairRows }) => pairRows.length);
    const first = exclusiveSums(pairs)[rank] * hidden;
    const place = storedBytes(this.#returned, first, first + pairs[rank] * hidden);
    const room = place.subarray(home[rank]);
    if (outputs.byteLength > room.byteLength) {
      const problem = `expected ${room.byteLength} more bytes of expert rows`;
      throw new DispatchError(`${problem}, got ${outputs.byteLength}`);
    }
    room.set(outputs);
    home[rank] += outputs.byteLength;
  }

  /** Of a row that comes home. */
  get #outputBytes(): number {
    const { stream, hidden } = this.#unit;
    return operandRowBytes({ format: precisions[stream.policy].rows, columns: hidden }).values;
  }

  get #arrivedPairs(): GroupedPairs {
    if (!this.#groups) throw new Error("nothing has arrived");
    return this.#groups;
  }

  get #inFlight(): Dispatched {
    if (!this.#dispatched) throw new Error("nothing was dispatched");
    return this.#dispatched;
  }

  /** A message in memory of its own. Whoever awaits those of the rank hears of a failure. */
  #send(rank: number, channel: number, message: Uint8Array): void {
    const { unit } = this.#unit;
    this.#inFlight.bytesTo[rank] += message.byteLength;
    unit.transport.send(unit.ranks[rank], channel, message, "given").catch(() => undefined);
  }

  /** What each other rank sends, as it comes. */
  async #take(
    from: (rank: number, next: (channel: number) => Promise<Uint8Array>) => Promise<void>,
  ): Promise<void> {
    const { unit, traffic } = this.#unit;
    const began = performance.now();
    const taken = this.#others.map((rank) =>
      from(rank, (channel) => unit.transport.receive(unit.ranks[rank], channel, "soon")),
    );
    await Promise.all(taken);
    traffic.waitedMs += performance.now() - began;
  }

  /** The given rows if they are enough; else new rows, twice as many or as many as needed. */
  #storedRows(rows: StoredRows, count: number): StoredRows {
    const { stream, hidden } = this.#unit;
    const values = count * hidden;
    if (rows.length >= values) return rows;
    return createStoredRows(precisions[stream.policy].rows, Math.max(values, 2 * rows.length));
  }

  #fixedPlaces(like: Operand): Operand {
    const rows = this.#unit.unit.ranks.length * FIXED_ROWS;
    return (this.#fixed ??= createOperand(like.format, rows, like.columns));
  }

  #operandFor(rows: number, like: Operand): Operand {
    if (!this.#arrived || rows > this.#arrivedRows) {
      this.#arrivedRows = Math.max(rows, 2 * this.#arrivedRows);
      this.#arrived = createOperand(like.format, this.#arrivedRows, like.columns);
    }
    return this.#arrived;
  }
}

/** In memory of its own, of which all is written. */
function joined(parts: readonly Uint8Array[]): Uint8Array {
  const bytes = parts.reduce((sum, { byteLength }) => sum + byteLength, 0);
  const all = new Uint8Array(Buffer.allocUnsafeSlow(bytes).buffer);
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.byteLength;
  }
  return all;
}
