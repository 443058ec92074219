import { SharedMemoryTransport, type SharedSegments, type Transport } from "../cluster/index.ts";
import { layerPlacement, ParallelExperts, type TrafficCounts } from "../expert-parallel/index.ts";
import { createReferenceKernels, PAGE_TOKENS, type Policy } from "../kernels/index.ts";
import { DirectoryBlobStore, type StoreLimits } from "../kv-cache/index.ts";
import { loadModel, numericIdentity, type ModelOptions } from "../model/index.ts";
import { nullTracer, type Tracer } from "../trace/index.ts";
import { EngineCore } from "./core.ts";
import { TRANSFER_CHANNEL } from "./handover.ts";
import { UnitClock } from "./unit.ts";

/** A rank's place among the ranks of the cluster. */
export interface RankPlace {
  readonly rank: number;
  readonly segments: SharedSegments;
  /** The ranks of its unit in order; they step together where they share experts. */
  readonly unit: readonly number[];
  /** Ranks that hand sequences over to this one. */
  readonly prefillRanks: readonly number[];
  /** Logical expert of each physical one, by layer of routed experts; undefined: all on each rank. */
  readonly placement?: readonly (readonly number[])[];
}

export interface RankOptions {
  readonly modelDirectory: string;
  readonly policy: Policy;
  /** Memory for the rank's KV pool; the model's context ends where the pool does. */
  readonly kvMemoryBytes: number;
  /** At most what the model and the pool allow. */
  readonly maxModelLen?: number;
  /** Rows of a step: what decode leaves of it goes to prompt chunks. */
  readonly chunkRows: number;
  /** Tokens from here on are never generated: rows of the vocabulary that no token uses. */
  readonly usableTokens?: number;
  /** A directory, which others may share, for the blocks that outlive the pool. */
  readonly contextCache?: { readonly directory: string; readonly limits: StoreLimits };
  readonly place: RankPlace;
}

/** One rank: its engine, and what connects it to the others. */
export class Rank {
  readonly core: EngineCore;
  readonly #transport: Transport;
  readonly #place: RankPlace;
  readonly #experts: ParallelExperts | undefined;

  static async open(options: RankOptions, tracer: Tracer = nullTracer): Promise<Rank> {
    const { modelDirectory, policy, chunkRows, kvMemoryBytes, place } = options;
    if (!Number.isInteger(chunkRows) || chunkRows < 1) {
      throw new RangeError(`chunkRows: expected a positive whole number, got ${chunkRows}`);
    }
    const transport = new SharedMemoryTransport(place.segments, place.rank);
    const parallel = parallelExperts(place, transport, tracer);
    const kernels = createReferenceKernels();
    const model = await loadModel(modelDirectory, {
      kernels,
      policy,
      maxRows: chunkRows,
      tracer,
      ...(place.placement && { createExperts: parallel.create }),
    });
    const pageBytes = model.kvBytesPerToken * PAGE_TOKENS;
    const pages = Math.floor(kvMemoryBytes / pageBytes);
    if (!(pages >= 1)) {
      throw new RangeError(
        `kvMemoryBytes: expected at least ${pageBytes} for one page, got ${kvMemoryBytes}`,
      );
    }
    const unit = place.placement && new UnitClock(transport, place.unit);
    const { contextCache: kept, ...limits } = options;
    const contextCache = kept && {
      store: await DirectoryBlobStore.open(kept.directory, kept.limits),
      identity: await numericIdentity(modelDirectory, { kernels, policy }),
    };
    const core = new EngineCore({
      ...limits,
      ...{ model, pages, transport },
      ...(unit && { unit }),
      ...(contextCache && { contextCache }),
    });
    return new Rank(core, transport, place, parallel.created);
  }

  private constructor(
    core: EngineCore,
    transport: Transport,
    place: RankPlace,
    experts: () => ParallelExperts | undefined,
  ) {
    this.core = core;
    this.#transport = transport;
    this.#place = place;
    this.#experts = experts();
  }

  /** Whether the rank steps when others of its unit do, work of its own or not. */
  get joinsSteps(): boolean {
    return this.#place.placement !== undefined;
  }

  get traffic(): TrafficCounts | undefined {
    return this.#experts?.traffic;
  }

  /** Takes in what prefill ranks send, until the transport is closed; rejects if a peer is lost. */
  async listen(onTransfer: () => void): Promise<void> {
    await Promise.all(
      this.#place.prefillRanks.map(async (rank) => {
        for (;;) {
          this.core.receive(await this.#transport.receive(rank, TRANSFER_CHANNEL));
          onTransfer();
        }
      }),
    );
  }
}

/** Makes a unit's routed experts once the model knows its stream and shape. */
function parallelExperts(place: RankPlace, transport: Transport, tracer: Tracer) {
  let experts: ParallelExperts | undefined;
  const create: NonNullable<ModelOptions["createExperts"]> = (stream, config) => {
    const { gate, firstDense, hiddenSize } = config;
    const placements = place.placement?.map((map) =>
      layerPlacement(map, gate.experts, place.unit.length),
    );
    const layers = config.layers - firstDense;
    if (placements?.length !== layers) {
      throw new RangeError(`placement: expected ${layers} layers, got ${placements?.length}`);
    }
    experts = new ParallelExperts({
      stream,
      rule: gate,
      hidden: hiddenSize,
      tracer,
      unit: { transport, ranks: place.unit },
      placementOf: (layer) => placements[layer - firstDense],
    });
    return experts;
  };
  return { create, created: () => experts };
}
