import { channels, MICRO_BATCHES } from "../cluster/index.ts";
import {
  createExchange,
  exchangesRows,
  type ExchangeShape,
  type ExchangeStream,
  type ExpertWeights,
} from "../kernels/index.ts";
import type { ExpertBatch, ExpertFlight, RoutedExperts } from "../model/index.ts";
import { MessageExchange } from "./message-exchange.ts";
import { ParallelFlight } from "./parallel-flight.ts";
import type { LayerPlacement } from "./placement.ts";
import type { RowExchange, UnitExperts } from "./row-exchange.ts";
import { StreamExchange } from "./stream-exchange.ts";
import { Traffic, type TrafficCounts } from "./traffic.ts";

/** Memory of a unit whose ranks are all in one process; made once, passed to each as workerData. */
export interface SharedExchange {
  readonly shape: ExchangeShape;
  /** By micro-batch. */
  readonly memories: readonly Uint8Array[];
}

export function createSharedExchange(shape: ExchangeShape): SharedExchange {
  return { shape, memories: Array.from({ length: MICRO_BATCHES }, () => createExchange(shape)) };
}

export interface ParallelExpertsOptions extends Omit<
  UnitExperts,
  "own" | "traffic" | "ownWeights"
> {
  /** Of a layer of routed experts. */
  readonly placementOf: (layer: number) => LayerPlacement;
  /** Of ranks whose streams can move rows by themselves; others send messages. */
  readonly shared?: SharedExchange | undefined;
  /** Rows of a step, of all ranks together. */
  readonly unitRows: () => number;
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
  readonly #createExchange: (microBatch: number) => RowExchange;
  /** By micro-batch. */
  readonly #flights: ParallelFlight[] = [];
  /** By a layer's experts. A kernel keeps what it makes of a list as long as the list. */
  readonly #ownWeights = new WeakMap<
    ExpertWeights,
    { readonly placement: LayerPlacement; readonly own: ExpertWeights }
  >();
  /** Why rows can no longer be exchanged. */
  #lost: Error | undefined;

  constructor({ placementOf, shared, unitRows, ...options }: ParallelExpertsOptions) {
    const { ranks, transport } = options.unit;
    const { stream } = options;
    this.#placementOf = placementOf;
    this.#unit = {
      ...options,
      own: ranks.indexOf(transport.rank),
      traffic: new Traffic(ranks.length, options.rule.experts),
      ownWeights: (placement, weights) => this.#weightsOf(placement, weights),
    };
    if (shared && exchangesRows(stream)) {
      const { shape, memories } = shared;
      this.#createExchange = (microBatch) => {
        const memory = { shape, memory: memories[microBatch] };
        return new StreamExchange(this.#unit, stream, memory, unitRows);
      };
      this.#failWithOthers(stream);
    } else this.#createExchange = () => new MessageExchange(this.#unit, unitRows);
  }

  get traffic(): TrafficCounts {
    return this.#unit.traffic.counts();
  }

  /** Milliseconds that messages of other ranks were waited for so far; streams wait by themselves. */
  get waitedMs(): number {
    return this.#unit.traffic.waitedMs;
  }

  async dispatch(batch: ExpertBatch): Promise<ExpertFlight> {
    if (this.#lost) throw this.#lost;
    const { microBatch } = batch;
    const flight = (this.#flights[microBatch] ??= new ParallelFlight(
      this.#unit,
      this.#createExchange(microBatch),
    ));
    await flight.dispatch(batch, this.#placementOf(batch.layer));
    return flight;
  }

  /** A stream that waits for a rank does not see that it is lost. */
  #failWithOthers(stream: ExchangeStream): void {
    const { ranks, transport } = this.#unit.unit;
    for (const rank of ranks) {
      if (rank === transport.rank) continue;
      transport.receive(rank, channels.loss).catch((error: Error) => {
        this.#lost ??= error;
        stream.fail(error);
      });
    }
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
