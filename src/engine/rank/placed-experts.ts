import type { Transport } from "../../cluster/index.ts";
import {
  layerPlacement,
  ParallelExperts,
  type LayerPlacement,
  type TrafficCounts,
} from "../../expert-parallel/index.ts";
import type { Stream } from "../../kernels/index.ts";
import type { ModelConfig } from "../../model/index.ts";
import type { Tracer } from "../../trace/index.ts";
import type { Placement, RankPlace } from "./rank-options.ts";
import type { UnitClock } from "./unit.ts";

/**
 * A rank's part of its unit's routed experts, and where they lie. Placements have versions; a step
 * uses the one that the unit's clock has agreed on, so that all ranks change in the same step.
 */
export class PlacedExperts {
  readonly #place: RankPlace;
  readonly #transport: Transport;
  readonly #clock: UnitClock;
  readonly #known = new Map<number, readonly LayerPlacement[]>();
  #config: ModelConfig | undefined;
  #experts: ParallelExperts | undefined;

  constructor(place: RankPlace, transport: Transport, clock: UnitClock) {
    this.#place = place;
    this.#transport = transport;
    this.#clock = clock;
  }

  get traffic(): TrafficCounts | undefined {
    return this.#experts?.traffic;
  }

  /** Milliseconds that the rank's thread has waited so far for rows of others. */
  get waitedMs(): number {
    return this.#experts?.waitedMs ?? 0;
  }

  /** Makes the experts once the model knows its stream and shape. */
  create(stream: Stream, config: ModelConfig, tracer: Tracer): ParallelExperts {
    this.#config = config;
    this.learn(this.#clock.version, this.#place.placement ?? []);
    this.#experts = new ParallelExperts({
      stream,
      rule: config.gate,
      hidden: config.hiddenSize,
      tracer,
      unit: { transport: this.#transport, ranks: this.#place.unit, nodes: this.#place.unitNodes },
      shared: this.#place.shared,
      unitRows: () => this.#clock.rows,
      placementOf: (layer) => this.#current()[layer - config.firstDense],
    });
    return this.#experts;
  }

  /** @throws PlacementError or RangeError where a placement does not fit the model and the unit */
  learn(version: number, placement: Placement): void {
    const { gate, layers, firstDense } = this.#config as ModelConfig;
    if (placement.length !== layers - firstDense) {
      const problem = `expected ${layers - firstDense} layers, got ${placement.length}`;
      throw new RangeError(`placement: ${problem}`);
    }
    const ranks = this.#place.unit.length;
    this.#known.set(
      version,
      placement.map((map) => layerPlacement(map, gate.experts, ranks)),
    );
    this.#clock.learn(version);
  }

  #current(): readonly LayerPlacement[] {
    const { version } = this.#clock;
    for (const older of this.#known.keys()) if (older < version) this.#known.delete(older);
    return this.#known.get(version) as readonly LayerPlacement[];
  }
}
