import { channels, type Transport } from "../cluster/index.ts";
import {
  createOperand,
  createStoredRows,
  precisions,
  storedOperand,
  type ExpertWeights,
  type GateRule,
  type Operand,
  type StoredRows,
  type Stream,
} from "../kernels/index.ts";
import {
  GroupedMlp,
  type ExpertBatch,
  type ExpertFlight,
  type ExpertOutput,
} from "../model/index.ts";
import type { Span, Tracer } from "../trace/index.ts";
import { dispatchLayout, exclusiveSums, type DispatchLayout } from "./layout.ts";
import { groupPairs } from "./pairs.ts";
import type { LayerPlacement } from "./placement.ts";
import type { Traffic } from "./traffic.ts";
import {
  decodeDispatch,
  DispatchError,
  encodeDispatch,
  placeRows,
  storedBytes,
  type ReceivedRows,
} from "./wire.ts";

/** A rank's place in its unit. */
export interface UnitMember {
  readonly transport: Transport;
  /** The unit's ranks by their numbers in the cluster, in the placement's order. */
  readonly ranks: readonly number[];
}

/** The parts that the flights of all micro-batches share. */
export interface UnitExperts {
  readonly stream: Stream;
  readonly rule: GateRule;
  readonly hidden: number;
  readonly unit: UnitMember;
  /** Own index in the unit. */
  readonly own: number;
  readonly tracer: Tracer;
  readonly traffic: Traffic;
  /** The own slots' weights. */
  readonly ownWeights: (placement: LayerPlacement, weights: ExpertWeights) => ExpertWeights;
}

/** A dispatch's results, for the acts that follow. */
interface Dispatched {
  readonly batch: ExpertBatch;
  readonly placement: LayerPlacement;
  readonly layout: DispatchLayout;
  /** The message to this rank itself. */
  readonly own: Uint8Array;
  readonly sent: Promise<void>;
  /** Span of the dispatch, open until the rows have arrived. */
  readonly span: Span;
}

/** One micro-batch between the ranks of its unit, with buffers of its own that grow as needed. */
export class ParallelFlight implements ExpertFlight {
  readonly #unit: UnitExperts;
  /** Indices in the unit of the other ranks. */
  readonly #others: readonly number[];
  readonly #mlp: GroupedMlp;
  #dispatched: Dispatched | undefined;
  #arrived: Operand | undefined;
  #arrivedRows = 0;
  /** Outputs of the own experts by rank, in the order of its pairs. [pairs, hidden] */
  #ordered: StoredRows;
  /** [rows × topK, hidden], by rank and then as dispatched */
  #returned: StoredRows;
  /** Pairs that each rank has sent here, once its rows have arrived. */
  #pairsOf: readonly number[] = [];

  constructor(unit: UnitExperts) {
    this.#unit = unit;
    this.#others = unit.unit.ranks.map((_, index) => index).filter((index) => index !== unit.own);
    this.#mlp = new GroupedMlp(unit.stream);
    this.#ordered = createStoredRows(precisions[unit.stream.policy].rows, 0);
    this.#returned = createStoredRows(precisions[unit.stream.policy].rows, 0);
  }

  /** Sends the rows, and resolves before the other ranks' rows have arrived. */
  async dispatch(batch: ExpertBatch, placement: LayerPlacement): Promise<void> {
    const { stream, rule, own, traffic, tracer } = this.#unit;
    await stream.fence();
    const { layer, ids, rows, input, microBatch } = batch;
    const layout = dispatchLayout(ids, rows, rule.topK, placement, own);
    traffic.countChoices(layer, ids.subarray(0, rows * rule.topK));
    layout.parts.forEach((part, rank) => traffic.countRows(rank, part.rows.length));
    const span = tracer.begin("DISPATCH", layer, rows, microBatch);
    const messages = layout.parts.map((part) => encodeDispatch(part, input));
    const sent = this.#send(channels.dispatch(microBatch), messages);
    // The caller of compute hears of a failure.
    sent.catch(() => undefined);
    this.#dispatched = { batch, placement, layout, own: messages[own], sent, span };
  }

  async compute(weights: ExpertWeights): Promise<void> {
    const { stream, tracer, hidden, ownWeights } = this.#unit;
    const { batch, placement, own, sent, span } = this.#inFlight;
    const arrived = await this.#take(channels.dispatch(batch.microBatch), own);
    await sent;
    tracer.end(span);
    const received = arrived.map((message) =>
      decodeDispatch(message, batch.input, placement.slots),
    );
    const mlp = tracer.begin("MLP", batch.layer, batch.rows, batch.microBatch);
    const firstRows = exclusiveSums(received.map(({ rows }) => rows));
    const operand = this.#operandFor(received, batch.input);
    received.forEach((rows, rank) => placeRows(operand, firstRows[rank], rows));
    const groups = groupPairs(received, firstRows, placement.slots);
    const pairs = groups.sources.length;
    this.#pairsOf = received.map(({ pairRows }) => pairRows.length);
    this.#ordered = this.#storedRows(this.#ordered, pairs);
    if (pairs > 0) {
      const outputs = this.#mlp.compute(operand, groups, ownWeights(placement, weights), pairs);
      const sorted = storedOperand(outputs, hidden);
      stream.gather(storedOperand(this.#ordered, hidden), sorted, groups.places, pairs);
    }
    await stream.fence();
    tracer.end(mlp);
  }

  /** Sends the experts' outputs home, in the order of each rank's pairs, and takes in the own rows'. */
  async combine(): Promise<ExpertOutput> {
    const { hidden, tracer, own } = this.#unit;
    const { batch, layout } = this.#inFlight;
    const span = tracer.begin("COMBINE", batch.layer, batch.rows, batch.microBatch);
    let at = 0;
    const outputs = this.#pairsOf.map((pairs) =>
      storedBytes(this.#ordered, at, (at += pairs * hidden)),
    );
    this.#returned = this.#storedRows(this.#returned, layout.places.length);
    const channel = channels.combine(batch.microBatch);
    const sent = this.#send(channel, outputs);
    const [arrived] = await Promise.all([this.#take(channel, outputs[own]), sent]);
    this.#takeHome(arrived, layout);
    tracer.end(span);
    return { expertRows: this.#returned, places: layout.places };
  }

  get #inFlight(): Dispatched {
    if (!this.#dispatched) throw new Error("nothing was dispatched");
    return this.#dispatched;
  }

  #takeHome(arrived: readonly Uint8Array[], { parts }: DispatchLayout): void {
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
  async #send(channel: number, messages: readonly Uint8Array[]): Promise<void> {
    const { unit, traffic } = this.#unit;
    const sent = this.#others.map((index) => {
      traffic.countBytes(index, messages[index].byteLength);
      return unit.transport.send(unit.ranks[index], channel, messages[index]);
    });
    await Promise.all(sent);
  }

  /** One message of each rank; the own one has stayed here. */
  async #take(channel: number, own: Uint8Array): Promise<Uint8Array[]> {
    const { unit } = this.#unit;
    const arrived = unit.ranks.map(() => own);
    const taken = this.#others.map(async (index) => {
      arrived[index] = await unit.transport.receive(unit.ranks[index], channel, "soon");
    });
    await Promise.all(taken);
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
