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
  placeRows,
  storedBytes,
  type ReceivedRows,
} from "./wire.ts";

interface Dispatched {
  readonly batch: ExpertBatch;
  readonly slots: number;
  readonly layout: DispatchLayout;
  /** The message to this rank itself. */
  readonly own: Uint8Array;
  readonly sent: Promise<void>;
  readonly bytesTo: Float64Array;
}

/** Rows as messages of any transport, in buffers that grow as needed. */
export class MessageExchange implements RowExchange {
  readonly #unit: UnitExperts;
  /** Indices in the unit of the other ranks. */
  readonly #others: readonly number[];
  #dispatched: Dispatched | undefined;
  #arrived: Operand | undefined;
  #arrivedRows = 0;
  #groups: RowGroups | undefined;
  /** Pairs that each rank has sent here, once its rows have arrived. */
  #pairsOf: readonly number[] = [];
  /** Outputs of the own experts by rank, in the order of its pairs. [pairs, hidden] */
  #ordered: StoredRows;
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
    const messages = layout.parts.map((part) => encodeDispatch(part, input));
    const sent = this.#send(channels.dispatch(microBatch), messages, bytesTo);
    // The caller of receive hears of a failure.
    sent.catch(() => undefined);
    const { slots } = placement;
    this.#dispatched = { ...{ batch, slots, layout, bytesTo, sent }, own: messages[own] };
  }

  async receive(): Promise<ArrivedRows> {
    const { batch, slots, own, sent } = this.#inFlight;
    const arrived = await this.#take(channels.dispatch(batch.microBatch), own);
    await sent;
    const received = arrived.map((message) => decodeDispatch(message, batch.input, slots));
    const firstRows = exclusiveSums(received.map(({ rows }) => rows));
    const input = this.#operandFor(received, batch.input);
    received.forEach((rows, rank) => placeRows(input, firstRows[rank], rows));
    const groups = groupPairs(received, firstRows, slots);
    this.#groups = groups;
    this.#pairsOf = received.map(({ pairRows }) => pairRows.length);
    return { input, groups, pairs: groups.sources.length };
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
    await this.#send(channels.combine(batch.microBatch), this.#outputsByRank(), bytesTo);
  }

  async takeHome(): Promise<ExpertOutput> {
    const { batch, layout } = this.#inFlight;
    const own = this.#outputsByRank()[this.#unit.own];
    const arrived = await this.#take(channels.combine(batch.microBatch), own);
    this.#returned = this.#storedRows(this.#returned, layout.places.length);
    this.#placeReturned(arrived, layout);
    return { expertRows: this.#returned, places: layout.places };
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

  #placeReturned(arrived: readonly Uint8Array[], { parts }: DispatchLayout): void {
    let at = 0;
    for (const [rank, message] of arrived.entries()) {
      const to = at + parts[rank].pairRows.length * this.#unit.hidden;
      const target = storedBytes(this.#returned, at, to);
      if (message.byteLength !== target.byteLength) {
        const problem = `expected ${target.byteLength} bytes of expert rows`;
        throw new DispatchError(`${problem}, got ${message.byteLength}`);
      }
      target.set(message);
      at = to;
    }
  }

  /** One message to each rank but this one. */
  async #send(
    channel: number,
    messages: readonly Uint8Array[],
    bytesTo: Float64Array,
  ): Promise<void> {
    const { unit } = this.#unit;
    const sent = this.#others.map((index) => {
      bytesTo[index] += messages[index].byteLength;
      return unit.transport.send(unit.ranks[index], channel, messages[index]);
    });
    await Promise.all(sent);
  }

  /** One message of each rank; the own one has stayed here. */
  async #take(channel: number, own: Uint8Array): Promise<Uint8Array[]> {
    const { unit, traffic } = this.#unit;
    const arrived = unit.ranks.map(() => own);
    const began = performance.now();
    const taken = this.#others.map(async (index) => {
      arrived[index] = await unit.transport.receive(unit.ranks[index], channel, "soon");
    });
    await Promise.all(taken);
    traffic.waitedMs += performance.now() - began;
    return arrived;
  }

  /** The given rows if they are enough; else new rows, twice as many or as many as needed. */
  #storedRows(rows: StoredRows, count: number): StoredRows {
    const { stream, hidden } = this.#unit;
    const values = count * hidden;
    if (rows.length >= values) return rows;
    return createStoredRows(precisions[stream.policy].rows, Math.max(values, 2 * rows.length));
  }

  #operandFor(received: readonly ReceivedRows[], like: Operand): Operand {
    const rows = received.reduce((sum, each) => sum + each.rows, 0);
    if (!this.#arrived || rows > this.#arrivedRows) {
      this.#arrivedRows = Math.max(rows, 2 * this.#arrivedRows);
      this.#arrived = createOperand(like.format, this.#arrivedRows, like.columns);
    }
    return this.#arrived;
  }
}
