import {
  RankRouter,
  settleInTime,
  systemClock,
  type NodeMesh,
  type WireRate,
} from "../../cluster/index.ts";
import { createSharedExchange } from "../../expert-parallel/index.ts";
import { coresOfEach, type WeightMemory } from "../../kernels/index.ts";
import { createPermits, FilePermits } from "../../kv-cache/index.ts";
import { readConfig, type ModelConfig } from "../../model/index.ts";
import type { EngineLimits } from "../messages.ts";
import type { RankPlace } from "../rank/index.ts";
import { expectMemory } from "./expect-memory.ts";
import type { ReadIdentity } from "./fleet-identity.ts";
import { placeOf, type Launch } from "./fleet-plan.ts";
import { EngineError, type RankListener } from "./rank-handle.ts";
import { RankWorker } from "./rank-worker.ts";
import type { WorkerOptions } from "./worker.ts";

export interface NodeRanksOptions {
  /** This node's own copy of the model. */
  readonly modelDirectory: string;
  readonly identity: ReadIdentity;
  readonly weights: WeightMemory;
  /** This machine's copy of the linear weights in strips. */
  readonly packed?: string | undefined;
  /** The links to other nodes; without one all ranks are here. */
  readonly mesh?: NodeMesh | undefined;
  /** Emulated, between ranks of this node, which then share no memory. */
  readonly wire?: WireRate | undefined;
  readonly listener: RankListener;
}

/** Ranks that lack one of their unit end by themselves; after so many milliseconds they are ended. */
const OWN_END_MS = 1000;

/** The ranks of one process, each in a thread of its own. */
export class NodeRanks {
  readonly #options: NodeRanksOptions;
  readonly #router: RankRouter;
  /** Those whose threads have begun and not ended. */
  readonly #workers = new Map<number, RankWorker>();
  /** Those that were to end, maybe before they had started. */
  readonly #ending = new Set<number>();
  readonly #filePermits = createPermits();
  readonly #listener: RankListener;
  #closed = false;

  constructor(options: NodeRanksOptions) {
    const { mesh, wire, listener } = options;
    this.#options = options;
    this.#router = new RankRouter({ wire, ...(mesh && { mesh }) });
    this.#listener = {
      heard: (rank, news) => listener.heard(rank, news),
      lost: (rank, reason, isOwnFault) => {
        this.#forget(rank);
        listener.lost(rank, reason, isOwnFault);
      },
    };
  }

  /** Undefined for one that is not open, or has ended. */
  rank(rank: number): RankWorker | undefined {
    const worker = this.#workers.get(rank);
    return worker?.isOpen === true ? worker : undefined;
  }

  /**
   * Opens the model on the ranks that this node has of a launch, and learns where the others are.
   * Rejects with what is wrong; those that were started meanwhile are still to be ended.
   * @returns the limits of the node's ranks, ascending
   */
  async start({ settings, units, ranks }: Launch): Promise<EngineLimits[]> {
    const own = this.#ownOf(units);
    if (own.length === 0) {
      this.#router.add(ranks);
      return [];
    }
    const { modelDirectory, identity, weights, packed, wire } = this.#options;
    const { kvMemoryBytes, contextCache: kept } = settings;
    const needed = { ranks: own.length, kvMemoryBytes, nodes: 1 };
    await expectMemory([{ ...needed, weights, packed, modelDirectory }]);
    const contextCache = kept && { ...kept, model: await identity.get() };
    const together = wire ? [] : own;
    const config = await readConfig(modelDirectory);
    if (this.#closed || own.some((rank) => this.#ending.has(rank))) {
      throw new EngineError("it was to end before it had started");
    }
    this.#router.add(ranks);
    const exchanges = createExchanges({ settings, units }, together, config);
    const started = await Promise.allSettled(
      own.map((rank) =>
        this.#startRank({
          ...ownOptions(settings, own.length),
          ...(contextCache && { contextCache }),
          ...{ modelDirectory, weights, packed },
          place: {
            ...placeOf(units, rank),
            ...{ endpoint: this.#router.endpoint(rank), filePermits: this.#filePermits },
            ...exchanges.get(rank),
          },
        }),
      ),
    );
    return started.map((result) => {
      if (result.status === "rejected") throw result.reason;
      return result.value;
    });
  }

  /**
   * Resolves when the threads of these ranks have ended.
   * @param isLost their unit is: those that notice end by themselves, and say what is wrong with them
   */
  async end(ranks: readonly number[], isLost: boolean): Promise<void> {
    for (const rank of ranks) this.#ending.add(rank);
    const workers = ranks.flatMap((rank) => this.#workers.get(rank) ?? []);
    await Promise.all(
      workers.map(async (worker) => {
        if (isLost && worker.isOpen) await settleInTime(worker.ended, systemClock, OWN_END_MS);
        await worker.terminate();
      }),
    );
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#router.close();
    await Promise.all([...this.#workers.values()].map((worker) => worker.terminate()));
  }

  #ownOf(units: Launch["units"]): number[] {
    const own = this.#options.mesh?.node ?? 0;
    return units.flatMap(({ ranks }) =>
      ranks.flatMap(({ rank, node }) => (node === own ? [rank] : [])),
    );
  }

  async #startRank(options: WorkerOptions): Promise<EngineLimits> {
    const { rank } = options.place.endpoint;
    const worker = new RankWorker(options, this.#listener);
    this.#workers.set(rank, worker);
    try {
      return await worker.open();
    } catch (error) {
      this.#forget(rank);
      throw error;
    }
  }

  #forget(rank: number): void {
    this.#workers.delete(rank);
    new FilePermits(this.#filePermits, rank).returnAll();
  }
}

/** By rank: the memory of its unit, where its unit shares experts and is all on this node. */
function createExchanges(
  { settings, units }: Pick<Launch, "settings" | "units">,
  together: readonly number[],
  { gate, hiddenSize: hidden }: ModelConfig,
): ReadonlyMap<number, Pick<RankPlace, "shared">> {
  const exchanges = new Map<number, Pick<RankPlace, "shared">>();
  const { policy, chunkRows: rows } = settings;
  for (const { ranks, placement } of units) {
    if (!placement || !ranks.every(({ rank }) => together.includes(rank))) continue;
    const shape = { ranks: ranks.length, rows, topK: gate.topK, hidden, policy };
    const shared = createSharedExchange(shape);
    for (const { rank } of ranks) exchanges.set(rank, { shared });
  }
  return exchanges;
}

/** What is said to each of so many ranks alike. */
function ownOptions(
  {
    policy,
    kvMemoryBytes,
    chunkRows,
    threads,
    fastDecode,
    speculate,
    overlap,
    maxModelLen,
    usableTokens,
    traceEpochMs,
  }: Launch["settings"],
  ranks: number,
): Omit<WorkerOptions, "modelDirectory" | "weights" | "packed" | "place" | "contextCache"> {
  return {
    ...{ policy, kvMemoryBytes, chunkRows },
    ...(threads !== undefined && { threads: threads === "all" ? coresOfEach(ranks) : threads }),
    ...(fastDecode !== undefined && { fastDecode }),
    ...(speculate !== undefined && { speculate }),
    ...(overlap !== undefined && { overlap }),
    ...(maxModelLen !== undefined && { maxModelLen }),
    ...(usableTokens !== undefined && { usableTokens }),
    ...(traceEpochMs !== undefined && { traceEpochMs }),
  };
}
