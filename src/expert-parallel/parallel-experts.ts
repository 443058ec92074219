import type { ExpertWeights } from "../kernels/index.ts";
import type { ExpertBatch, ExpertFlight, RoutedExperts } from "../model/index.ts";
import { ParallelFlight, type UnitExperts } from "./parallel-flight.ts";
import type { LayerPlacement } from "./placement.ts";
import { Traffic, type TrafficCounts } from "./traffic.ts";

export interface ParallelExpertsOptions extends Omit<
  UnitExperts,
  "own" | "traffic" | "ownWeights"
> {
  /** Of a layer of routed experts. */
  readonly placementOf: (layer: number) => LayerPlacement;
}

/**
 * Routed experts spread over the ranks of a unit (expert parallelism, DeepEP's role). Dispatch sends
 * each row once to every rank that holds an expert the row chose; combine brings back one row for
 * each (row, choice), and the home rank adds them. No partial sum is formed elsewhere, so the
 * placement never changes the answer. All ranks of the unit dispatch the same layers and
 * micro-batches in the same order, with no rows where they have none.
 */
export class ParallelExperts implements RoutedExperts {
  readonly #unit: UnitExperts;
  readonly #placementOf: (layer: number) => LayerPlacement;
  /** By micro-batch. */
  readonly #flights: ParallelFlight[] = [];
  /** By a layer's experts. A kernel keeps what it makes of a list as long as the list. */
  readonly #ownWeights = new WeakMap<
    ExpertWeights,
    { readonly placement: LayerPlacement; readonly own: ExpertWeights }
  >();

  constructor({ placementOf, ...options }: ParallelExpertsOptions) {
    const { ranks, transport } = options.unit;
    this.#placementOf = placementOf;
    this.#unit = {
      ...options,
      own: ranks.indexOf(transport.rank),
      traffic: new Traffic(ranks.length, options.rule.experts),
      ownWeights: (placement, weights) => this.#weightsOf(placement, weights),
    };
  }

  get traffic(): TrafficCounts {
    return this.#unit.traffic.counts();
  }

  async dispatch(batch: ExpertBatch): Promise<ExpertFlight> {
    const flight = (this.#flights[batch.microBatch] ??= new ParallelFlight(this.#unit));
    await flight.dispatch(batch, this.#placementOf(batch.layer));
    return flight;
  }

  /** The same lists until the layer's experts are placed anew. */
  #weightsOf(placement: LayerPlacement, weights: ExpertWeights): ExpertWeights {
    const kept = this.#ownWeights.get(weights);
    if (kept?.placement === placement) return kept.own;
    const { slots, physicalToLogical } = placement;
    const first = this.#unit.own * slots;
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
