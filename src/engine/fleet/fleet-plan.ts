import { z } from "zod";
import { expertPolicies } from "../../balancing/index.ts";
import {
  assignRanks,
  formatTopology,
  parseTopology,
  type ClusterSecret,
  type ListenAddress,
  type Topology,
} from "../../cluster/index.ts";
import { policies } from "../../kernels/index.ts";
import type { ModelConfig } from "../../model/index.ts";
import { defaultPolicy, initialPlacement, shapeOf, type ExpertOptions } from "../routing/index.ts";
import {
  overlapModes,
  type ContextCacheOptions,
  type RankOptions,
  type RankPlace,
} from "../rank/index.ts";

/** Where the other nodes of a cluster come from. */
export interface NodeOptions {
  /** All nodes, this process included; or, by unit, the nodes that each has to itself. */
  readonly count: number | readonly number[];
  /** Waits for nodes that join here, instead of starting them on this machine. */
  readonly await?: {
    readonly listen: ListenAddress;
    readonly secret: ClusterSecret;
    /** Told where the nodes can join. */
    readonly listening?: (port: number) => void;
    /** Told whom the cluster refused, and why. */
    readonly refused?: (reason: string) => void;
  };
  /** Milliseconds of silence after which a node is given up. */
  readonly failureTimeoutMs?: number;
}

const whole = z.int().min(0);

/** Of what may be without end, which JSON tells as null. */
const bound = z
  .number()
  .min(0)
  .nullable()
  .transform((value) => value ?? Infinity);

/** What every node of a cluster has to know to start its ranks; the coordinator tells the others. */
export const fleetPlanSchema = z.object({
  /** As `--topology` spells it. */
  topology: z.string().max(256),
  /** The node of each rank. */
  nodeOfRank: z.array(whole).min(1),
  /** By unit: logical expert of each physical one, by layer; null where each rank has all. */
  placements: z.array(z.array(z.array(whole)).nullable()),
  /** How experts are placed for loads that are counted later. */
  expertPolicy: z.enum(expertPolicies),
  policy: z.enum(policies),
  kvMemoryBytes: z.number().min(0),
  chunkRows: z.int().min(1),
  threads: z.int().min(1).optional(),
  fastDecode: z.boolean().optional(),
  speculate: z.boolean().optional(),
  overlap: z.enum(overlapModes).optional(),
  maxModelLen: z.int().optional(),
  usableTokens: z.int().optional(),
  contextCache: z
    .object({
      directory: z.string().max(4096),
      limits: z.object({ maxBytes: bound, maxAgeMs: bound }),
    })
    .optional(),
  /** Spans are recorded, their times counted from here: milliseconds of Unix time. */
  traceEpochMs: z.number().optional(),
});

export type FleetPlan = z.infer<typeof fleetPlanSchema>;

export interface PlanOptions extends Omit<
  RankOptions,
  "modelDirectory" | "weights" | "packed" | "place" | "contextCache"
> {
  readonly contextCache?: ContextCacheOptions;
  readonly topology: Topology;
  readonly nodes: NodeOptions["count"];
  readonly experts?: ExpertOptions | "replicated";
  readonly traceEpochMs?: number;
}

/** A typed array has at most 2^32 values; a layer's pool is looked at as bytes. */
const LAYER_POOL_BYTES = 2 ** 32 - 2 ** 20;

/**
 * @throws RangeError if there are more nodes than ranks, a pool is larger than arrays can be, experts cannot be placed as asked, or ranks
 *   that share work would decode with bits of their own
 */
export function planFleet(options: PlanOptions, config: ModelConfig): FleetPlan {
  const { topology, nodes, experts = {}, contextCache, ...own } = options;
  const nodeOfRank = assignRanks(topology, nodes);
  const most = LAYER_POOL_BYTES * config.layers;
  if (own.kvMemoryBytes > most) {
    const [given, limit] = [own.kvMemoryBytes, most].map((bytes) => (bytes / 1e9).toFixed(1));
    throw new RangeError(
      `--kv-memory: a rank of this model of ${config.layers} layers can use ${limit} GB, got ${given} GB`,
    );
  }
  if (own.fastDecode && nodeOfRank.length > 1) {
    throw new RangeError(`--fast-decode: expected one rank, got ${formatTopology(topology)}`);
  }
  return {
    ...own,
    topology: formatTopology(topology),
    nodeOfRank,
    placements: topology.units.map((unit) => {
      const { ranks } = unit;
      if (ranks.length === 1 || experts === "replicated") return null;
      const placement = initialPlacement(experts, config, shapeOf(unit, nodeOfRank));
      return placement.map((layer) => [...layer]);
    }),
    expertPolicy: (experts !== "replicated" && experts.policy) || defaultPolicy,
    ...(contextCache && { contextCache: { ...contextCache, limits: { ...contextCache.limits } } }),
  };
}

const partnerOf = { prefill: "decode", decode: "prefill", combined: undefined } as const;

/** Where a rank stands, but for what only its own process can give it. */
export function placeOf(plan: FleetPlan, rank: number): Omit<RankPlace, "endpoint"> {
  const { units } = parseTopology(plan.topology);
  const index = units.findIndex(({ ranks }) => ranks.includes(rank));
  const { role, ranks: unit } = units[index];
  const placement = plan.placements[index];
  return {
    node: plan.nodeOfRank[rank],
    unit,
    partners: units.flatMap((other) => (other.role === partnerOf[role] ? other.ranks : [])),
    ...(placement && { placement }),
  };
}
