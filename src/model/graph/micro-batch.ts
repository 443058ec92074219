import type { KvLayer, StepLayout, Stream } from "../../kernels/index.ts";
import type { Span, SpanName, Tracer } from "../../trace/index.ts";
import type { LayerWeights, ModelConfig } from "../checkpoint/index.ts";
import { forwardMlp, gateRows, reduceExperts } from "./feed-forward.ts";
import type { LatentAttention } from "./mla.ts";
import type { Stages } from "./overlap.ts";
import type { ExpertFlight, RoutedExperts } from "./routed-experts.ts";
import type { Workspace } from "./workspace.ts";

/** What layers are computed with. */
export interface LayerContext {
  readonly config: ModelConfig;
  readonly stream: Stream;
  readonly attention: LatentAttention;
  readonly experts: RoutedExperts;
  readonly tracer: Tracer;
}

/** A layer as a micro-batch passes it. */
export interface Layer {
  readonly index: number;
  readonly weights: LayerWeights;
  readonly cache: KvLayer;
}

/**
 * Rows of a step, their state in w.hidden. A stage enqueues its work, and awaits only what other
 * ranks send for it; the rows that an earlier stage has sent are under way meanwhile.
 */
export class MicroBatch implements Stages<Layer> {
  readonly #context: LayerContext;
  readonly #number: number;
  readonly #overlaps: boolean;
  readonly #workspace: Workspace;
  readonly #layout: StepLayout;
  /** Rows that were dispatched to their experts. */
  #flight: Promise<ExpertFlight> | undefined;
  /** The layer whose experts' outputs are to be added to w.hidden. */
  #open: Layer | undefined;

  /** `number`: of the two of a step that overlaps. */
  constructor(context: LayerContext, workspace: Workspace, layout: StepLayout, number?: 0 | 1) {
    this.#context = context;
    this.#number = number ?? 0;
    this.#overlaps = number !== undefined;
    this.#workspace = workspace;
    this.#layout = layout;
  }

  async attention(layer: Layer): Promise<void> {
    await this.finish();
    const span = this.#begin("ATTN", layer);
    this.#project(layer);
    this.#attend(layer);
    this.#context.tracer.end(span);
    this.#dispatch(layer);
  }

  /** Queries, and the rows' own KV, which is written. */
  async project(layer: Layer): Promise<void> {
    await this.finish();
    const span = this.#begin("ATTN", layer);
    this.#project(layer);
    this.#context.tracer.end(span);
  }

  /** Attention over each row's context; the rows then set out for their experts. */
  async attend(layer: Layer): Promise<void> {
    const span = this.#begin("ATTN", layer);
    this.#attend(layer);
    this.#context.tracer.end(span);
    this.#dispatch(layer);
  }

  /** The shared expert, if the layer has one. */
  async shared(layer: Layer): Promise<void> {
    const { ffn } = layer.weights;
    if (ffn.kind === "dense" || !ffn.shared) return;
    const { stream, tracer } = this.#context;
    const { rows } = this.#layout;
    const span = this.#begin("SHARED", layer);
    forwardMlp(stream, this.#workspace, ffn.shared, this.#workspace.sharedRows, rows);
    tracer.end(span);
  }

  /** The experts of this rank, for the rows of all ranks; or the layer's dense feed-forward. */
  async experts(layer: Layer): Promise<void> {
    const { ffn } = layer.weights;
    this.#open = layer;
    if (ffn.kind === "moe") {
      const flight = await this.#flight;
      return flight?.compute(ffn.experts);
    }
    const { stream, tracer } = this.#context;
    const { rows } = this.#layout;
    const span = this.#begin("MLP", layer);
    forwardMlp(stream, this.#workspace, ffn, this.#workspace.update, rows);
    tracer.end(span);
  }

  async finish(): Promise<void> {
    const layer = this.#open;
    if (!layer) return;
    this.#open = undefined;
    const { stream, config, tracer } = this.#context;
    const { rows } = this.#layout;
    const w = this.#workspace;
    const { ffn } = layer.weights;
    const flight = await this.#flight;
    this.#flight = undefined;
    if (ffn.kind === "moe" && flight) {
      const output = await flight.combine();
      const span = this.#begin("REDUCE", layer);
      reduceExperts(stream, w, ffn, output, config.gate.topK, rows);
      tracer.end(span);
    }
    stream.add(w.hidden, w.update, rows * config.hiddenSize);
  }

  #project({ weights, cache }: Layer): void {
    const { stream, attention, config } = this.#context;
    const w = this.#workspace;
    stream.rmsNorm(w.normed, w.hidden, weights.inputNorm, config.normEpsilon, this.#layout.rows);
    attention.project(stream, w, weights.attention, cache, this.#layout);
  }

  #attend({ weights, cache }: Layer): void {
    const { stream, attention, config } = this.#context;
    const { rows } = this.#layout;
    const w = this.#workspace;
    attention.attend(stream, w, weights.attention, cache, this.#layout);
    stream.add(w.hidden, w.update, rows * config.hiddenSize);
    stream.rmsNorm(w.normed, w.hidden, weights.postNorm, config.normEpsilon, rows);
  }

  #dispatch(layer: Layer): void {
    const { ffn } = layer.weights;
    if (ffn.kind === "dense") return;
    const { stream, config, experts, tracer } = this.#context;
    const { rows } = this.#layout;
    const span = this.#begin("GATE", layer);
    const gated = gateRows(stream, this.#workspace, ffn, config.gate, rows);
    tracer.end(span);
    const own = { microBatch: this.#number, overlaps: this.#overlaps, layer: layer.index, rows };
    this.#flight = experts.dispatch({ ...own, ...gated });
    // Who awaits the flight hears of a failure.
    this.#flight.catch(() => undefined);
  }

  #begin(name: SpanName, { index }: Layer): Span {
    return this.#context.tracer.begin(name, index, this.#layout.rows, this.#number);
  }
}
