import { channels } from "../cluster/index.ts";
import {
  createOperand,
  createStoredRows,
  operandRowBytes,
  precisions,
  rowsOf,
  type Operand,
  type OperandFormatName,
  type StoredRows,
} from "../kernels/index.ts";
import type { ExpertBatch, ExpertOutput } from "../model/index.ts";
import { dispatchLayout, exclusiveSums, type DispatchLayout } from "./layout.ts";
import { GroupedPairs } from "./pairs.ts";
import type { LayerPlacement } from "./placement.ts";
import type { ArrivedRows, RowExchange, SlotRange, UnitExperts } from "./row-exchange.ts";
import { Routes } from "./routes.ts";
import { RowDispatch, type ArrivedPart } from "./row-dispatch.ts";
import { DispatchError, placeRows, rowBytesOf, storedBytes } from "./wire.ts";

type TakeRows = (took: (rank: number, arrived: ArrivedPart) => void) => Promise<void>;

interface Dispatched {
  readonly batch: ExpertBatch;
  readonly slots: number;
  readonly layout: DispatchLayout;
  readonly bytesTo: Float64Array;
  /** Where outputs of each rank's experts that have not yet come home are put. */
  readonly rooms: Uint8Array[];
  readonly dispatch: RowDispatch;
  /** Tells the rows of each other rank that have come, and those that come. */
  readonly takeRows: TakeRows;
  /** Each resolves when memory that was sent may be used again. */
  readonly sent: Promise<void>[];
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
 * In steps with more rows than decoding has, a row goes once to each other node. Where a rank sends more rows
 * than have a fixed place, as with prompts, all are placed behind each other once they have come, and no
 * memory is lost between them.
 */
export class MessageExchange implements RowExchange {
  readonly #unit: UnitExperts;
  /** Indices in the unit of the other ranks. */
  readonly #others: readonly number[];
  readonly #straight: Routes;
  readonly #overNodes: Routes;
  /** Of a step, of all ranks together. */
  readonly #unitRows: () => number;
  #dispatched: Dispatched | undefined;
  /** By the format of a layer's rows. */
  readonly #fixed = new Map<OperandFormatName, Operand>();
  readonly #arrived = new Map<OperandFormatName, Operand>();
  #groups: GroupedPairs | undefined;
  /** [rows × topK, hidden], by rank and then as dispatched */
  #returned: StoredRows;

  /** `unitRows`: of a step, of all ranks together. */
  constructor(unit: UnitExperts, unitRows: () => number) {
    this.#unit = unit;
    this.#unitRows = unitRows;
    const { ranks, nodes } = unit.unit;
    this.#straight = new Routes([...ranks.keys()], unit.own);
    this.#overNodes = new Routes(nodes, unit.own);
    this.#others = [...ranks.keys()].filter((index) => index !== unit.own);
    this.#returned = createStoredRows(precisions[unit.stream.policy].rows, 0);
  }

  async dispatch(batch: ExpertBatch, placement: LayerPlacement, gated: () => void): Promise<void> {
    await this.#unit.stream.fence();
    gated();
    const { rule, own, traffic } = this.#unit;
    const { layer, ids, rows } = batch;
    const { slots } = placement;
    const layout = dispatchLayout(ids, rows, rule.topK, placement, own);
    const { loads, rowsTo, bytesTo } = traffic.countsOf(layer);
    for (const id of ids.subarray(0, rows * rule.topK)) loads[id]++;
    layout.parts.forEach((part, rank) => (rowsTo[rank] += part.rows.length));
    this.#returned = this.#storedRows(this.#returned, layout.places.length);
    const rooms = this.#roomsOf(layout);
    const passesOn = this.#unitRows() > FIXED_ROWS * layout.parts.length;
    const routes = passesOn ? this.#overNodes : this.#straight;
    const send = this.#send.bind(this);
    const dispatch = new RowDispatch(this.#unit, batch, { slots, routes, send });
    const taken = passesOn ? takenAhead(dispatch) : undefined;
    const takeRows: TakeRows = taken ?? ((took) => dispatch.take(took, "soon"));
    this.#dispatched = { batch, slots, layout, bytesTo, rooms, sent: [], dispatch, takeRows };
    dispatch.send(layout);
  }

  async receive(): Promise<ArrivedRows> {
    const { batch, slots, layout, takeRows } = this.#inFlight;
    const { own } = this.#unit;
    const fixed = this.#fixedPlaces(batch.input);
    const arrived: ArrivedPart[] = [];
    let fits = true;
    const take = (rank: number, each: ArrivedPart) => {
      arrived[rank] = each;
      fits &&= each.part.rows.length <= FIXED_ROWS;
      if (fits) placeRows(fixed, rank * FIXED_ROWS, each.part.rows, each.bytes);
    };
    take(own, { part: layout.parts[own], bytes: rowBytesOf(batch.input) });
    await this.#timed(takeRows(take));
    const parts = arrived.map(({ part }) => part);
    const firstRows = fits
      ? parts.map((_, rank) => rank * FIXED_ROWS)
      : exclusiveSums(parts.map(({ rows }) => rows.length));
    const input = fits ? fixed : this.#placeBehind(arrived, firstRows);
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
  #placeBehind(arrived: readonly ArrivedPart[], firstRows: readonly number[]): Operand {
    const rows = arrived.reduce((sum, { part }) => sum + part.rows.length, 0);
    const input = this.#operandFor(rows, this.#inFlight.batch.input);
    for (const [rank, { part, bytes }] of arrived.entries()) {
      placeRows(input, firstRows[rank], part.rows, bytes);
    }
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
      else if (bytes.length > 0) this.#send(rank, channel, bytes);
    }
  }

  async takeHome(): Promise<ExpertOutput> {
    const { layout, sent, dispatch } = this.#inFlight;
    await this.#timed(Promise.all(this.#others.map((rank) => this.#takeHomeFrom(rank))));
    await Promise.all(sent);
    dispatch.release();
    return { expertRows: this.#returned, places: layout.places };
  }

  async #takeHomeFrom(rank: number): Promise<void> {
    const { batch, rooms } = this.#inFlight;
    const { transport, ranks } = this.#unit.unit;
    const channel = channels.combine(batch.microBatch);
    while (rooms[rank].byteLength > 0) {
      const outputs = await transport.receive(ranks[rank], channel, "soon");
      this.#bringHome(rank, outputs);
      transport.release(outputs);
    }
  }

  /** Of each rank's experts, behind each other. */
  #roomsOf({ parts }: DispatchLayout): Uint8Array[] {
    const { hidden } = this.#unit;
    const pairs = parts.map(({ pairRows }) => pairRows.length);
    return exclusiveSums(pairs).map((first, rank) =>
      storedBytes(this.#returned, first * hidden, (first + pairs[rank]) * hidden),
    );
  }

  /** Puts outputs of a rank's experts behind those that have come before. */
  #bringHome(rank: number, outputs: Uint8Array): void {
    const { rooms } = this.#inFlight;
    const room = rooms[rank];
    if (outputs.byteLength > room.byteLength) {
      const problem = `expected ${room.byteLength} more bytes of expert rows`;
      throw new DispatchError(`${problem}, got ${outputs.byteLength}`);
    }
    room.set(outputs);
    rooms[rank] = room.subarray(outputs.byteLength);
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

  /** Whoever awaits what the rank sends, or that all is sent, hears of a failure. */
  #send(rank: number, channel: number, parts: readonly Uint8Array[]): void {
    const { unit } = this.#unit;
    const { bytesTo, sent } = this.#inFlight;
    bytesTo[rank] += parts.reduce((sum, part) => sum + part.length, 0);
    const sending = unit.transport.send(unit.ranks[rank], channel, parts, "asked");
    sending.catch(() => undefined);
    sent.push(sending);
  }

  async #timed(arrival: Promise<unknown>): Promise<void> {
    const began = performance.now();
    await arrival;
    this.#unit.traffic.waitedMs += performance.now() - began;
  }

  /** The given rows if they are enough; else new rows, twice as many or as many as needed. */
  #storedRows(rows: StoredRows, count: number): StoredRows {
    const { stream, hidden } = this.#unit;
    const values = count * hidden;
    if (rows.length >= values) return rows;
    return createStoredRows(precisions[stream.policy].rows, Math.max(values, 2 * rows.length));
  }

  #fixedPlaces({ format, columns }: Operand): Operand {
    let fixed = this.#fixed.get(format);
    if (!fixed) {
      fixed = createOperand(format, this.#unit.unit.ranks.length * FIXED_ROWS, columns);
      this.#fixed.set(format, fixed);
    }
    return fixed;
  }

  #operandFor(rows: number, { format, columns }: Operand): Operand {
    let arrived = this.#arrived.get(format);
    const room = arrived ? rowsOf(arrived) : 0;
    if (!arrived || rows > room) {
      arrived = createOperand(format, Math.max(rows, 2 * room), columns);
      this.#arrived.set(format, arrived);
    }
    return arrived;
  }
}

/** Takes rows as soon as they come, since others of the node may wait for them. */
function takenAhead(dispatch: RowDispatch): TakeRows {
  const arrived: [rank: number, arrived: ArrivedPart][] = [];
  const all = dispatch.take((...each) => void arrived.push(each));
  all.catch(() => undefined);
  return async (took) => {
    await all;
    for (const each of arrived) took(...each);
  };
}
