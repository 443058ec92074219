import type { ExpertWeights } from "../kernels/index.ts";
import {
  GroupedMlp,
  type ExpertBatch,
  type ExpertFlight,
  type ExpertOutput,
} from "../model/index.ts";
import type { Span } from "../trace/index.ts";
import type { LayerPlacement } from "./placement.ts";
import type { RowExchange, UnitExperts } from "./row-exchange.ts";

/** A dispatch's results, for the acts that follow. */
interface Dispatched {
  readonly batch: ExpertBatch;
  readonly placement: LayerPlacement;
  /** Span of the dispatch, open until the rows have arrived. */
  readonly span: Span;
}

/** One micro-batch between the ranks of its unit, with buffers of its own. */
export class ParallelFlight implements ExpertFlight {
  readonly #unit: UnitExperts;
  readonly #exchange: RowExchange;
  readonly #mlp: GroupedMlp;
  #dispatched: Dispatched | undefined;

  constructor(unit: UnitExperts, exchange: RowExchange) {
    this.#unit = unit;
    this.#exchange = exchange;
    this.#mlp = new GroupedMlp(unit.stream);
  }

  /** Sends the rows, and resolves before the other ranks' rows have arrived. */
  async dispatch(batch: ExpertBatch, placement: LayerPlacement): Promise<void> {
    await this.#exchange.gated();
    const { layer, rows, microBatch } = batch;
    const span = this.#unit.tracer.begin("DISPATCH", layer, rows, microBatch);
    this.#exchange.dispatch(batch, placement);
    this.#dispatched = { batch, placement, span };
  }

  async compute(weights: ExpertWeights): Promise<void> {
    const { tracer, ownWeights } = this.#unit;
    const { batch, placement, span } = this.#inFlight;
    const { input, groups, pairs } = await this.#exchange.receive();
    tracer.end(span);
    const mlp = tracer.begin("MLP", batch.layer, batch.rows, batch.microBatch);
    const outputs = this.#mlp.compute(input, groups, ownWeights(placement, weights), pairs);
    await this.#exchange.computed(outputs);
    tracer.end(mlp);
  }

  async combine(): Promise<ExpertOutput> {
    const { layer, rows, microBatch } = this.#inFlight.batch;
    const span = this.#unit.tracer.begin("COMBINE", layer, rows, microBatch);
    const output = await this.#exchange.combine();
    this.#unit.tracer.end(span);
    return output;
  }

  get #inFlight(): Dispatched {
    if (!this.#dispatched) throw new Error("nothing was dispatched");
    return this.#dispatched;
  }
}
