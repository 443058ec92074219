import { parseTopology, RankRouter, type NodeMesh } from "../../cluster/index.ts";
import { createSharedExchange } from "../../expert-parallel/index.ts";
import type { WeightMemory } from "../../kernels/index.ts";
import { createPermits, FilePermits } from "../../kv-cache/index.ts";
import { readConfig, type ModelConfig } from "../../model/index.ts";
import type { RankPlace } from "../rank/index.ts";
import { expectMemory } from "./expect-memory.ts";
import type { ReadIdentity } from "./fleet-identity.ts";
import { placeOf, type FleetPlan } from "./fleet-plan.ts";
import type { RankListener } from "./rank-handle.ts";
import { RankWorker } from "./rank-worker.ts";
import type { WorkerOptions } from "./worker.ts";

export interface NodeRanksOptions {
  readonly plan: FleetPlan;
  /** This node's own copy of the model. */
  readonly modelDirectory: string;
  readonly identity: ReadIdentity;
  readonly weights: WeightMemory;
  /** This machine's copy of the linear weights in strips. */
  readonly packed?: string | undefined;
  /** The links to other nodes; without one all ranks are here. */
  readonly mesh?: NodeMesh | undefined;
  readonly listener: RankListener;
}

/** The ranks of one process, each in a thread of its own. */
export class NodeRanks {
  readonly #router: RankRouter;
  readonly #workers = new Map<number, RankWorker>();

  /** Opens the model on every rank of the node; rejects with what is wrong with it. */
  static async start(options: NodeRanksOptions): Promise<NodeRanks> {
    const { plan, mesh } = options;
    const router = new RankRouter({ nodeOfRank: plan.nodeOfRank, ...(mesh && { mesh }) });
    const node = new NodeRanks(router);
    try {
      await node.#start(options);
      return node;
    } catch (error) {
      await node.close();
      throw error;
    }
  }

  private constructor(router: RankRouter) {
    this.#router = router;
  }

  /** The node's own ranks, ascending. */
  get ranks(): readonly number[] {
    return this.#router.ranks;
  }

  rank(rank: number): RankWorker {
    const worker = this.#workers.get(rank);
    if (!worker) throw new RangeError(`rank ${rank} is not on this node`);
    return worker;
  }

  async close(): Promise<void> {
    this.#router.close();
    await Promise.all([...this.#workers.values()].map((worker) => worker.terminate()));
  }

  async #start(options: NodeRanksOptions): Promise<void> {
    const { plan, modelDirectory, identity, weights, packed, listener } = options;
    const { kvMemoryBytes } = plan;
    const ranks = this.ranks.length;
    await expectMemory({ ranks, kvMemoryBytes, nodes: 1, weights, packed, modelDirectory });
    const contextCache = plan.contextCache && {
      ...plan.contextCache,
      model: await identity.get(),
    };
    const filePermits = createPermits();
    const exchanges = createExchanges(plan, this.ranks, await readConfig(modelDirectory));
    const heard: RankListener = {
      heard: (rank, news) => listener.heard(rank, news),
      lost: (rank, reason, isOwnFault) => {
        new FilePermits(filePermits, rank).returnAll();
        listener.lost(rank, reason, isOwnFault);
      },
    };
    const started = await Promise.allSettled(
      this.ranks.map(async (rank) => {
        const workerOptions: WorkerOptions = {
          ...ownOptions(plan),
          ...(contextCache && { contextCache }),
          ...{ modelDirectory, weights, packed },
          place: {
            ...placeOf(plan, rank),
            ...{ endpoint: this.#router.endpoint(rank), filePermits },
            ...exchanges.get(rank),
          },
        };
        this.#workers.set(rank, await RankWorker.start(workerOptions, heard));
      }),
    );
    for (const result of started) if (result.status === "rejected") throw result.reason;
  }
}

/** By rank: the memory of its unit, where its unit shares experts and is all on this node. */
function createExchanges(
  plan: FleetPlan,
  own: readonly number[],
  { gate, hiddenSize: hidden }: ModelConfig,
): ReadonlyMap<number, Pick<RankPlace, "shared">> {
  const exchanges = new Map<number, Pick<RankPlace, "shared">>();
  const { policy, chunkRows: rows } = plan;
  for (const [index, { ranks }] of parseTopology(plan.topology).units.entries()) {
    if (!plan.placements[index] || !ranks.every((rank) => own.includes(rank))) continue;
    const shape = { ranks: ranks.length, rows, topK: gate.topK, hidden, policy };
    const shared = createSharedExchange(shape);
    for (const rank of ranks) exchanges.set(rank, { shared });
  }
  return exchanges;
}

/** What a plan says to each rank alike. */
function ownOptions({
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
}: FleetPlan): Omit<
  WorkerOptions,
  "modelDirectory" | "weights" | "packed" | "place" | "contextCache"
> {
  return {
    ...{ policy, kvMemoryBytes, chunkRows },
    ...(threads !== undefined && { threads }),
    ...(fastDecode !== undefined && { fastDecode }),
    ...(speculate !== undefined && { speculate }),
    ...(overlap !== undefined && { overlap }),
    ...(maxModelLen !== undefined && { maxModelLen }),
    ...(usableTokens !== undefined && { usableTokens }),
    ...(traceEpochMs !== undefined && { traceEpochMs }),
  };
}
