import {
  allocate,
  createOperand,
  createStoredRows,
  precisions,
  type ExpertWeights,
  type GateRule,
  type MlpBuffers,
  type Operand,
  type RowGroups,
  type SortedRows,
  type StoredRows,
  type Stream,
} from "../../kernels/index.ts";
import type { Tracer } from "../../trace/index.ts";

/** A micro-batch's rows in one layer, and the experts they chose. */
export interface ExpertBatch {
  /** From 0; micro-batches of a step have buffers of their own. */
  readonly microBatch: number;
  readonly layer: number;
  readonly rows: number;
  /** [rows, hidden], rounded as the policy says: exactly what travels when a row leaves its rank */
  readonly input: Operand;
  /** [rows, topK], logical experts, ascending in a row */
  readonly ids: Int32Array;
  /** Whether rows of this micro-batch are to be under way while anything is computed. */
  readonly overlaps: boolean;
}

/** The experts' outputs, one row for each (row, choice), in any order. */
export interface ExpertOutput {
  /** [pairs, hidden] */
  readonly expertRows: StoredRows;
  /** Where the output of (row, choice) lies. [rows, topK] */
  readonly places: Int32Array;
}

/** A dispatched micro-batch. Records the spans MLP and, between ranks, DISPATCH and COMBINE. */
export interface ExpertFlight {
  /**
   * The second act: awaits the rows that were dispatched to this rank, and enqueues its experts for
   * them. Their outputs then set out for their homes.
   */
  compute(weights: ExpertWeights): Promise<void>;
  /** The third act: the own rows' outputs have come home, valid until the micro-batch's next dispatch. */
  combine(): Promise<ExpertOutput>;
}

/** Where a step's routed experts are computed: on this rank, or spread over a unit's ranks. */
export interface RoutedExperts {
  /**
   * The first act: rows set out for their experts once what is enqueued has run. Work that is enqueued
   * behind it hides their way.
   */
  dispatch(batch: ExpertBatch): Promise<ExpertFlight>;
  /** A step's stream was awaited: what its layers wrote can be read. */
  stepped?(): void;
}

/** SwiGLU of row groups, each with its own expert, in buffers of its own. */
export class GroupedMlp {
  readonly #stream: Stream;
  /** One for each pair of formats of both products' rows: layers may have experts of another format. */
  #buffers: readonly MlpBuffers[] = [];
  /** [pairs, hidden] */
  #out: StoredRows = new Float32Array(0);

  constructor(stream: Stream) {
    this.#stream = stream;
  }

  /**
   * `groups` numbers the experts of `weights`, and has at most so many pairs; output row i is that of
   * the i-th sorted pair.
   */
  compute(input: Operand, groups: SortedRows, weights: ExpertWeights, pairs: number): StoredRows {
    const buffers = this.#buffersFor(pairs, weights);
    this.#stream.groupedMlp(this.#out, input, weights, groups, buffers);
    return this.#out;
  }

  /**
   * The same for the experts from number `first` on that `weights` are of; the groups are known already, and
   * outputs get their places among all.
   */
  computePart(
    input: Operand,
    { starts, sources }: SortedRows,
    weights: ExpertWeights,
    first: number,
  ): StoredRows {
    const buffers = this.#buffersFor(sources.length, weights);
    const part = starts.subarray(first, first + weights.gate.length + 1);
    const [from, to] = [part[0], part[part.length - 1]];
    const groups = {
      starts: part.map((start) => start - from),
      sources: sources.subarray(from, to),
    };
    const out = this.#out.subarray(from * input.columns, to * input.columns);
    this.#stream.groupedMlp(out, input, weights, groups, { ...buffers, pairs: to - from });
    return this.#out;
  }

  /** Grow to the most pairs ever asked for. */
  #buffersFor(least: number, { gate, down }: ExpertWeights): MlpBuffers {
    const input = this.#stream.operandFormat(gate[0]);
    const between = this.#stream.operandFormat(down[0]);
    const kept = this.#buffers.find(
      ({ sorted, product }) => sorted.format === input && product.format === between,
    );
    if (kept && kept.pairs >= least) return kept;
    const pairs = Math.max(least, 2 * (kept?.pairs ?? 0));
    const [width, hidden] = gate[0].shape;
    if (this.#out.length < pairs * hidden) {
      this.#out = createStoredRows(precisions[this.#stream.policy].rows, pairs * hidden);
    }
    const buffers = {
      pairs,
      sorted: createOperand(input, pairs, hidden),
      gate: allocate(Float32Array, pairs * width),
      up: allocate(Float32Array, pairs * width),
      product: createOperand(between, pairs, width),
    };
    this.#buffers = [...this.#buffers.filter((each) => each !== kept), buffers];
    return buffers;
  }
}

/** All experts on this rank: enqueued with the rest of the step. */
export class LocalExperts implements RoutedExperts {
  readonly #stream: Stream;
  readonly #rule: GateRule;
  readonly #maxRows: number;
  readonly #tracer: Tracer;
  /** By micro-batch. */
  readonly #flights: LocalFlight[] = [];
  /** How often each expert was chosen, by layer; dense layers have no counts. */
  readonly #loads = new Map<number, Float64Array>();

  constructor(stream: Stream, rule: GateRule, maxRows: number, tracer: Tracer) {
    this.#stream = stream;
    this.#rule = rule;
    this.#maxRows = maxRows;
    this.#tracer = tracer;
  }

  async dispatch(batch: ExpertBatch): Promise<ExpertFlight> {
    const flight = (this.#flights[batch.microBatch] ??= new LocalFlight(
      this.#stream,
      this.#rule,
      this.#maxRows,
      this.#tracer,
    ));
    flight.take(batch);
    return flight;
  }

  stepped(): void {
    for (const flight of this.#flights) {
      for (const [layer, starts] of flight.takeGroups()) this.#count(layer, starts);
    }
  }

  /** Choices since the start. [MoE layers that were computed][experts] */
  get loads(): readonly (readonly number[])[] {
    return [...this.#loads].sort(([a], [b]) => a - b).map(([, loads]) => [...loads]);
  }

  #count(layer: number, starts: Int32Array): void {
    let loads = this.#loads.get(layer);
    if (!loads) this.#loads.set(layer, (loads = new Float64Array(this.#rule.experts)));
    for (const expert of loads.keys()) loads[expert] += starts[expert + 1] - starts[expert];
  }
}

class LocalFlight implements ExpertFlight {
  #batch: ExpertBatch | undefined;
  readonly #stream: Stream;
  readonly #rule: GateRule;
  readonly #mlp: GroupedMlp;
  readonly #groups: Omit<RowGroups, "starts">;
  /** Where the groups of a layer begin, which are counted after the step. */
  readonly #starts = new Map<number, Int32Array>();
  readonly #grouped = new Set<number>();
  readonly #tracer: Tracer;
  #expertRows: StoredRows = new Float32Array(0);

  constructor(stream: Stream, rule: GateRule, maxRows: number, tracer: Tracer) {
    this.#stream = stream;
    this.#tracer = tracer;
    this.#rule = rule;
    this.#mlp = new GroupedMlp(stream);
    this.#groups = {
      sources: allocate(Int32Array, maxRows * rule.topK),
      places: allocate(Int32Array, maxRows * rule.topK),
    };
  }

  take(batch: ExpertBatch): void {
    this.#batch = batch;
  }

  /** Of each layer computed since this was last asked, once the stream was awaited. */
  *takeGroups(): Generator<readonly [layer: number, starts: Int32Array]> {
    for (const layer of this.#grouped) yield [layer, this.#startsOf(layer)];
    this.#grouped.clear();
  }

  async compute(weights: ExpertWeights): Promise<void> {
    const { layer, input, ids, rows, microBatch } = this.#batch as ExpertBatch;
    const groups = { ...this.#groups, starts: this.#startsOf(layer) };
    const mlp = this.#tracer.begin("MLP", layer, rows, microBatch);
    this.#stream.groupRows(groups, ids, this.#rule, rows);
    const pairs = rows * this.#rule.topK;
    this.#expertRows = this.#mlp.compute(input, groups, weights, pairs);
    this.#grouped.add(layer);
    this.#tracer.end(mlp);
  }

  async combine(): Promise<ExpertOutput> {
    return { expertRows: this.#expertRows, places: this.#groups.places };
  }

  #startsOf(layer: number): Int32Array {
    let starts = this.#starts.get(layer);
    if (!starts) this.#starts.set(layer, (starts = allocate(Int32Array, this.#rule.experts + 1)));
    return starts;
  }
}
