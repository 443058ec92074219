import {
  allocate,
  sharedRows,
  type ExchangeShape,
  type ExchangeStream,
  type OperandFormatName,
  type RowGroups,
  type SharedRows,
  type StoredRows,
} from "../kernels/index.ts";
import type { ExpertBatch, ExpertOutput } from "../model/index.ts";
import { replicaChoices } from "./layout.ts";
import type { LayerPlacement } from "./placement.ts";
import type { ArrivedRows, RowExchange, UnitExperts } from "./row-exchange.ts";

/** Memory of the unit's ranks for the rows of one micro-batch, and what it was made for. */
export interface ExchangeMemory {
  readonly shape: ExchangeShape;
  readonly memory: Uint8Array;
}

/** Rows through memory that all ranks of the unit see. Nothing is awaited before a step's end. */
export class StreamExchange implements RowExchange {
  readonly #unit: UnitExperts;
  readonly #stream: ExchangeStream;
  readonly #memory: ExchangeMemory;
  /** Where the output of each (row, choice) comes home: row by row. */
  readonly #places: Int32Array;
  readonly #unitRows: () => number;
  #shared: SharedRows | undefined;
  #groups: RowGroups = {
    starts: new Int32Array(0),
    sources: new Int32Array(0),
    places: new Int32Array(0),
  };
  #turn = 0;
  #layer = 0;

  /** `unitRows`: of a step, of all ranks together. */
  constructor(
    unit: UnitExperts,
    stream: ExchangeStream,
    memory: ExchangeMemory,
    unitRows: () => number,
  ) {
    this.#unit = unit;
    this.#stream = stream;
    this.#memory = memory;
    this.#unitRows = unitRows;
    const { rows, topK } = memory.shape;
    this.#places = allocate(Int32Array, rows * topK).map((_, place) => place);
  }

  async dispatch(
    { layer, rows, ids, input }: ExpertBatch,
    placement: LayerPlacement,
    gated: () => void,
  ): Promise<void> {
    gated();
    const { traffic } = this.#unit;
    const { slots } = placement;
    const shared = this.#sharedFor(input.format);
    this.#turn = (this.#turn + 1) | 0;
    this.#layer = layer;
    this.#prepareGroups(slots);
    const choices = replicaChoices(placement);
    const counts = traffic.countsOf(layer);
    const dispatched = { ...{ input, ids, rows, choices, slots }, ...counts };
    this.#stream.dispatchRows(shared, this.#turn, dispatched);
  }

  async receive(): Promise<ArrivedRows> {
    const shared = this.#inFlight;
    this.#stream.awaitDispatched(shared, this.#turn);
    this.#stream.groupArrived(this.#groups, shared, this.#turn);
    const groups = this.#groups;
    // Only the stream will know how many come for a part of the experts.
    return { input: shared.dispatched, groups, pairs: groups.sources.length, parts: 1 };
  }

  async returnRows(outputs: StoredRows, computed: () => void): Promise<void> {
    computed();
    const { bytesTo } = this.#unit.traffic.countsOf(this.#layer);
    this.#stream.returnRows(this.#inFlight, this.#turn, outputs, this.#groups, bytesTo);
  }

  async takeHome(): Promise<ExpertOutput> {
    const { own, rows, topK, hidden, returned } = this.#inFlight;
    this.#stream.awaitReturned(this.#inFlight, this.#turn);
    const size = rows * topK * hidden;
    const expertRows = returned.subarray(own * size, (own + 1) * size);
    return { expertRows, places: this.#places };
  }

  get #inFlight(): SharedRows {
    if (!this.#shared) throw new Error("nothing was dispatched");
    return this.#shared;
  }

  #sharedFor(format: OperandFormatName): SharedRows {
    if (this.#shared?.dispatched.format !== format) {
      const { memory, shape } = this.#memory;
      this.#shared = sharedRows(memory, shape, this.#unit.own, format);
    }
    return this.#shared;
  }

  /** Room for as many pairs as could come here: the stream will know how many do. */
  #prepareGroups(slots: number): void {
    const pairs = this.#unitRows() * Math.min(this.#memory.shape.topK, slots);
    const { starts, sources } = this.#groups;
    if (starts.length === slots + 1 && sources.length >= pairs) return;
    const room = Math.max(pairs, sources.length);
    this.#groups = {
      starts: allocate(Int32Array, slots + 1),
      sources: allocate(Int32Array, room),
      places: allocate(Int32Array, room),
    };
  }
}
