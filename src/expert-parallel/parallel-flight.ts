import type { ExpertWeights } from "../kernels/index.ts";
import {
  GroupedMlp,
  type ExpertBatch,
  type ExpertFlight,
  type ExpertOutput,
} from "../model/index.ts";
import type { Span, SpanName } from "../trace/index.ts";
import { expertParts } from "./expert-parts.ts";
import type { LayerPlacement } from "./placement.ts";
import type { RowExchange, UnitExperts } from "./row-exchange.ts";

/** A micro-batch's way through one layer, for the acts that follow. */
interface Dispatched {
  readonly batch: ExpertBatch;
  readonly placement: LayerPlacement;
  /** Span of the dispatch or of the combination, open until the rows have arrived. */
  span?: Span | undefined;
  returned?: Promise<unknown>;
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

  /** Resolves when the rows were sent, before those of other ranks have arrived. */
  dispatch(batch: ExpertBatch, placement: LayerPlacement): Promise<void> {
    const flight: Dispatched = { batch, placement };
    this.#dispatched = flight;
    const gated = () => void (flight.span = this.#begin("DISPATCH", batch));
    return this.#exchange.dispatch(batch, placement, gated);
  }

  async compute(weights: ExpertWeights): Promise<void> {
    const { tracer, ownWeights } = this.#unit;
    const flight = this.#inFlight;
    const { batch, placement } = flight;
    const { input, groups, pairs, parts } = await this.#exchange.receive();
    if (flight.span !== undefined) tracer.end(flight.span);
    flight.span = undefined;
    const own = ownWeights(placement, weights);
    const returned: Promise<void>[] = [];
    const computed = () => void (flight.span ??= this.#begin("COMBINE", batch));
    for (const part of expertParts(own, parts)) {
      const mlp = this.#begin("MLP", batch);
      const outputs =
        parts > 1
          ? this.#mlp.computePart(input, groups, part.weights, part.first)
          : this.#mlp.compute(input, groups, part.weights, pairs);
      tracer.end(mlp);
      returned.push(this.#exchange.returnRows(outputs, computed, part));
    }
    flight.returned = Promise.all(returned);
    // Who takes the outputs home hears of a failure.
    flight.returned.catch(() => undefined);
  }

  async combine(): Promise<ExpertOutput> {
    const flight = this.#inFlight;
    await flight.returned;
    const output = await this.#exchange.takeHome();
    if (flight.span !== undefined) this.#unit.tracer.end(flight.span);
    return output;
  }

  #begin(name: SpanName, { layer, rows, microBatch }: ExpertBatch): Span {
    return this.#unit.tracer.begin(name, layer, rows, microBatch);
  }

  get #inFlight(): Dispatched {
    if (!this.#dispatched) throw new Error("nothing was dispatched");
    return this.#dispatched;
  }
}
