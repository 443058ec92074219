import { channels } from "../cluster/index.ts";
import {
  createOperand,
  createStoredRows,
  precisions,
  storedOperand,
  type Operand,
  type RowGroups,
  type StoredRows,
} from "../kernels/index.ts";
import type { ExpertBatch, ExpertOutput } from "../model/index.ts";
import { dispatchLayout, exclusiveSums, type DispatchLayout } from "./layout.ts";
import { groupPairs } from "./pairs.ts";
import type { LayerPlacement } from "./placement.ts";
import type { ArrivedRows, RowExchange, UnitExperts } from "./row-exchange.ts";
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
  readonly sent: Promise<void>;
  readonly bytesTo: Float64Array;
}

/**
 * Of so many rows at most, as decoding has them, each rank's have a fixed place here (DeepEP's low-latency
 * form): they are put there as they come, while others are under way.
 */
const FIXED_ROWS = 128;

/**
 * Rows as messages of any transport, one to each rank and one back, in buffers that grow as needed. Where a
 * rank sends more rows than have a fixed place, as with prompts, all are placed behind each other once they
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
  #groups: RowGroups | undefined;
  /** Pairs that each rank has sent here, once its rows have arrived. */
  #pairsOf: readonly number[] = [];
  /** Outputs of the own experts by rank, in the order of its pairs. [pairs, hidden] */
  #ordered: StoredRows;
  /** The other ranks' outputs have been sent: their memory may be used again. */
  #returning: Promise<void> = Promise.resolve();
  /** [rows × topK, hidden], by rank and then as dispatched */
  #returned: StoredRows;

  constructor(unit: UnitExperts) {
    this.#unit = unit;
    this.#others = unit.unit.ranks.map((_, index) => index).filter((index) => index !== unit.own);
    this.#ordered = createStoredRows(precisions[unit.stream.policy].rows, 0);
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
    const message = (rank: number) => encodeDispatch(layout.parts[rank], input);
    const sent = this.#send(channels.dispatch(microBatch), bytesTo, message, "given");
    const { slots } = placement;
    this.#dispatched = { batch, slots, layout, bytesTo, sent };
  }

  async receive(): Promise<ArrivedRows> {
    const { batch, slots, layout, sent } = this.#inFlight;
    const { own } = this.#unit;
    const like = batch.input;
    const ownPart = layout.parts[own];
    const ownRows = { ...ownPart, rows: ownPart.rows.length };
    const fixed = this.#fixedPlaces(like);
    const received = new Map<number, ReceivedRows>();
    let fits = ownRows.rows <= FIXED_ROWS;
    if (fits) placeOwnRows(fixed, own * FIXED_ROWS, ownPart, like);
    await this.#take(channels.dispatch(batch.microBatch), (rank, message) => {
      const rows = decodeDispatch(message, like, slots);
      received.set(rank, rows);
      fits &&= rows.rows <= FIXED_ROWS;
      if (fits) placeRows(fixed, rank * FIXED_ROWS, rows);
    });
    await sent;
    const parts = layout.parts.map((_, rank) => received.get(rank) ?? ownRows);
    const firstRows = fits
      ? parts.map((_, rank) => rank * FIXED_ROWS)
      : exclusiveSums(parts.map(({ rows }) => rows));
    const input = fits ? fixed : this.#placeBehind(received, firstRows);
    const groups = groupPairs(parts, firstRows, slots);
    this.#groups = groups;
    this.#pairsOf = parts.map(({ pairRows }) => pairRows.length);
    return { input, groups, pairs: groups.sources.length };
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

  /** Outputs go home in the order of each rank's pairs. */
  async returnRows(outputs: StoredRows, computed: () => void): Promise<void> {
    const { stream, hidden } = this.#unit;
    const { batch, bytesTo } = this.#inFlight;
    const { places } = this.#groups as RowGroups;
    this.#ordered = this.#storedRows(this.#ordered, places.length);
    const [ordered, sorted] = [this.#ordered, outputs].map((rows) => storedOperand(rows, hidden));
    stream.gather(ordered, sorted, places, places.length);
    await stream.fence();
    computed();
    const messages = this.#outputsByRank();
    const channel = channels.combine(batch.microBatch);
    this.#returning = this.#send(channel, bytesTo, (rank) => messages[rank]);
  }

  async takeHome(): Promise<ExpertOutput> {
    const { batch, layout } = this.#inFlight;
    const { hidden, own } = this.#unit;
    const { parts, places } = layout;
    this.#returned = this.#storedRows(this.#returned, places.length);
    const firsts = exclusiveSums(parts.map(({ pairRows }) => pairRows.length * hidden));
    const place = (rank: number, message: Uint8Array) => {
      const end = firsts[rank] + parts[rank].pairRows.length * hidden;
      const target = storedBytes(this.#returned, firsts[rank], end);
      if (message.byteLength !== target.byteLength) {
        const problem = `expected ${target.byteLength} bytes of expert rows`;
        throw new DispatchError(`${problem}, got ${message.byteLength}`);
      }
      target.set(message);
    };
    place(own, this.#outputsByRank()[own]);
    await this.#take(channels.combine(batch.microBatch), place);
    await this.#returning;
    return { expertRows: this.#returned, places };
  }

  #outputsByRank(): Uint8Array[] {
    let at = 0;
    return this.#pairsOf.map((pairs) =>
      storedBytes(this.#ordered, at, (at += pairs * this.#unit.hidden)),
    );
  }

  get #inFlight(): Dispatched {
    if (!this.#dispatched) throw new Error("nothing was dispatched");
    return this.#dispatched;
  }

  /** One message to each other rank. Whoever awaits theirs, or this, hears of a failure. */
  #send(
    channel: number,
    bytesTo: Float64Array,
    messageTo: (rank: number) => Uint8Array,
    given?: "given",
  ): Promise<void> {
    const { unit } = this.#unit;
    const sends = this.#others.map((rank) => {
      const message = messageTo(rank);
      bytesTo[rank] += message.byteLength;
      return unit.transport.send(unit.ranks[rank], channel, message, given);
    });
    const sent = Promise.all(sends).then(() => undefined);
    sent.catch(() => undefined);
    return sent;
  }

  /** One message of each other rank, as they come. */
  async #take(
    channel: number,
    arrived: (rank: number, message: Uint8Array) => void,
  ): Promise<void> {
    const { unit, traffic } = this.#unit;
    const began = performance.now();
    const taken = this.#others.map(async (rank) =>
      arrived(rank, await unit.transport.receive(unit.ranks[rank], channel, "soon")),
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
