import type { Transport } from "../cluster/index.ts";
import {
  createOperand,
  createStoredRows,
  storedOperand,
  type GateRule,
  type Operand,
  type RowGroups,
  type StoredRows,
  type Stream,
} from "../kernels/index.ts";
import {
  GroupedMlp,
  type ExpertCall,
  type ExpertOutput,
  type ExpertWeights,
  type RoutedExperts,
} from "../model/index.ts";
import type { Tracer } from "../trace/index.ts";
import { dispatchLayout, exclusiveSums, type DispatchLayout } from "./layout.ts";
import type { LayerPlacement } from "./placement.ts";
import { Traffic, type TrafficCounts } from "./traffic.ts";
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

export interface ParallelExpertsOptions {
  readonly stream: Stream;
  readonly rule: GateRule;
  readonly hidden: number;
  readonly unit: UnitMember;
  readonly tracer: Tracer;
  /** Of a layer of routed experts. */
  readonly placementOf: (layer: number) => LayerPlacement;
}

export const DISPATCH_CHANNEL = 1;
export const COMBINE_CHANNEL = 2;

/**
 * Routed experts spread over the ranks of a unit (expert parallelism, DeepEP's role). Dispatch sends
 * each row once to every rank that holds an expert it chose; combine brings back one row for each
 * (row, choice), and the home rank adds them. No partial sum is formed elsewhere, so the placement
 * never changes the answer. All ranks of the unit call `compute` for the same layers in the same
 * order, with no rows where they have none.
 */
export class ParallelExperts implements RoutedExperts {
  readonly #stream: Stream;
  readonly #rule: GateRule;
  readonly #hidden: number;
  readonly #unit: UnitMember;
  /** Own index in the unit. */
  readonly #own: number;
  readonly #tracer: Tracer;
  readonly #placementOf: (layer: number) => LayerPlacement;
  readonly #mlp: GroupedMlp;
  readonly #traffic: Traffic;
  /** By a layer's experts. A kernel keeps what it makes of a list as long as the list. */
  readonly #ownWeights = new WeakMap<
    ExpertWeights,
    { readonly placement: LayerPlacement; readonly own: ExpertWeights }
  >();
  #arrived: Operand | undefined;
  #arrivedRows = 0;
  /** Outputs of the own experts by rank, in the order of its pairs. [pairs, hidden] */
  #ordered: StoredRows;
  /** [rows × topK, hidden], by rank and then as dispatched */
  #returned: StoredRows;

  constructor({ stream, rule, hidden, unit, tracer, placementOf }: ParallelExpertsOptions) {
    this.#stream = stream;
    this.#rule = rule;
    this.#hidden = hidden;
    this.#unit = unit;
    this.#own = unit.ranks.indexOf(unit.transport.rank);
    this.#tracer = tracer;
    this.#placementOf = placementOf;
    this.#mlp = new GroupedMlp(stream);
    this.#traffic = new Traffic(unit.ranks.length, rule.experts);
    this.#ordered = createStoredRows(stream.policy, 0);
    this.#returned = createStoredRows(stream.policy, 0);
  }

  get traffic(): TrafficCounts {
    return this.#traffic.counts();
  }

  async compute(call: ExpertCall, weights: ExpertWeights): Promise<ExpertOutput> {
    await this.#stream.fence();
    const { topK } = this.#rule;
    const { layer, ids, rows } = call;
    const placement = this.#placementOf(layer);
    const layout = dispatchLayout(ids, rows, topK, placement, this.#own);
    this.#traffic.countChoices(layer, ids.subarray(0, rows * topK));

    const dispatch = this.#tracer.begin("DISPATCH", layer, rows);
    const received = await this.#dispatch(layout, call.input, placement.slots);
    this.#tracer.end(dispatch);
    const mlp = this.#tracer.begin("MLP", layer, rows);
    const outputs = await this.#computeReceived(received, call.input, placement, weights);
    this.#tracer.end(mlp);
    const combine = this.#tracer.begin("COMBINE", layer, rows);
    await this.#combine(outputs, layout);
    this.#tracer.end(combine);
    return { expertRows: this.#returned, places: layout.places };
  }

  /** Rows of every rank of the unit that want experts of this one. */
  async #dispatch(layout: DispatchLayout, input: Operand, slots: number): Promise<ReceivedRows[]> {
    const messages = layout.parts.map((part) => encodeDispatch(part, input));
    layout.parts.forEach((part, rank) => this.#traffic.countRows(rank, part.rows.length));
    const arrived = await this.#exchange(DISPATCH_CHANNEL, messages);
    return arrived.map((message) => decodeDispatch(message, input, slots));
  }

  /** The experts' outputs for each rank, in the order of its pairs. */
  async #computeReceived(
    received: readonly ReceivedRows[],
    like: Operand,
    placement: LayerPlacement,
    weights: ExpertWeights,
  ): Promise<Uint8Array[]> {
    const firstRows = exclusiveSums(received.map(({ rows }) => rows));
    const operand = this.#operandFor(received, like);
    received.forEach((rows, rank) => placeRows(operand, firstRows[rank], rows));
    const groups = groupPairs(received, firstRows, placement.slots);
    const pairs = groups.sources.length;
    this.#ordered = this.#storedRows(this.#ordered, pairs);
    if (pairs > 0) {
      const own = this.#ownExperts(placement, weights);
      const sorted = storedOperand(this.#mlp.compute(operand, groups, own, pairs), this.#hidden);
      const ordered = storedOperand(this.#ordered, this.#hidden);
      this.#stream.gather(ordered, sorted, groups.places, pairs);
    }
    await this.#stream.fence();
    let at = 0;
    return received.map(({ pairRows }) =>
      storedBytes(this.#ordered, at, (at += pairRows.length * this.#hidden)),
    );
  }

  /** Brings expert rows home into `#returned`. */
  async #combine(outputs: readonly Uint8Array[], { parts, places }: DispatchLayout): Promise<void> {
    this.#returned = this.#storedRows(this.#returned, places.length);
    const arrived = await this.#exchange(COMBINE_CHANNEL, outputs);
    let at = 0;
    for (const [rank, message] of arrived.entries()) {
      const to = at + parts[rank].pairRows.length * this.#hidden;
      const target = storedBytes(this.#returned, at, to);
      if (message.byteLength !== target.byteLength) {
        const problem = `expected ${target.byteLength} bytes of expert rows`;
        throw new DispatchError(`${problem}, got ${message.byteLength}`);
      }
      target.set(message);
      at = to;
    }
  }

  /** Sends one message to each rank and takes one of each; the own one stays here. */
  async #exchange(channel: number, messages: readonly Uint8Array[]): Promise<Uint8Array[]> {
    const { transport, ranks } = this.#unit;
    const exchanged = ranks.map(async (rank, index) => {
      if (index === this.#own) return messages[index];
      this.#traffic.countBytes(index, messages[index].byteLength);
      const [arrived] = await Promise.all([
        transport.receive(rank, channel),
        transport.send(rank, channel, messages[index]),
      ]);
      return arrived;
    });
    return Promise.all(exchanged);
  }

  /** The rows given where they are enough, else twice as many as those or as many as needed. */
  #storedRows(rows: StoredRows, count: number): StoredRows {
    const values = count * this.#hidden;
    if (rows.length >= values) return rows;
    return createStoredRows(this.#stream.policy, Math.max(values, 2 * rows.length));
  }

  #operandFor(received: readonly ReceivedRows[], like: Operand): Operand {
    const rows = received.reduce((sum, each) => sum + each.rows, 0);
    if (!this.#arrived || rows > this.#arrivedRows) {
      this.#arrivedRows = Math.max(rows, 2 * this.#arrivedRows);
      this.#arrived = createOperand(like.format, this.#arrivedRows, like.columns);
    }
    return this.#arrived;
  }

  /** The own slots' weights: the same lists until the layer's experts are placed anew. */
  #ownExperts(placement: LayerPlacement, weights: ExpertWeights): ExpertWeights {
    const kept = this.#ownWeights.get(weights);
    if (kept?.placement === placement) return kept.own;
    const { slots, physicalToLogical } = placement;
    const first = this.#own * slots;
    const logical = [...physicalToLogical.subarray(first, first + slots)];
    const own = {
      gate: logical.map((expert) => weights.gate[expert]),
      up: logical.map((expert) => weights.up[expert]),
      down: logical.map((expert) => weights.down[expert]),
    };
    this.#ownWeights.set(weights, { placement, own });
    return own;
  }
}

/** Sorts all ranks' pairs by expert, in order of arrival inside one (a counting sort). */
function groupPairs(
  received: readonly ReceivedRows[],
  firstRows: readonly number[],
  slots: number,
): RowGroups {
  const starts = new Int32Array(slots + 1);
  for (const { pairSlots } of received) for (const slot of pairSlots) starts[slot + 1]++;
  for (let slot = 0; slot < slots; slot++) starts[slot + 1] += starts[slot];
  const next = starts.slice(0, slots);
  const sources = new Int32Array(starts[slots]);
  const places = new Int32Array(starts[slots]);
  let pair = 0;
  for (const [rank, { pairRows, pairSlots }] of received.entries()) {
    for (const [i, slot] of pairSlots.entries()) {
      const place = next[slot]++;
      sources[place] = firstRows[rank] + pairRows[i];
      places[pair++] = place;
    }
  }
  return { starts, sources, places };
}
