import { z } from "zod";
import { expertPolicies } from "../../balancing/index.ts";
import {
  assignRanks,
  formatTopology,
  MAXIMUM_RANK,
  parseTopology,
  type Clock,
  type ClusterSecret,
  type Door,
  type ListenAddress,
  type RankNode,
  type Topology,
  type UnitRole,
  type WireRate,
} from "../../cluster/index.ts";
import { policies } from "../../kernels/index.ts";
import type { ModelConfig } from "../../model/index.ts";
import {
  balancedInTurns,
  defaultPolicy,
  initialPlacement,
  placingOf,
  shapeOf,
  type ExpertLoads,
  type ExpertOptions,
  type UnitShape,
} from "../routing/index.ts";
import {
  overlapModes,
  type ContextCacheOptions,
  type Placement,
  type RankOptions,
  type RankPlace,
} from "../rank/index.ts";

/** Where the other nodes of a cluster come from. */
export interface NodeOptions {
  /** All nodes, this process included; or, by unit, the nodes that each has to itself. */
  readonly count: number | readonly number[];
  /** Waits for nodes that join here, instead of starting them on this machine. */
  readonly await?: {
    /** Of several models' clusters the port that they have in common. */
    readonly listen: ListenAddress | Door;
    /** What the nodes call this cluster there. */
    readonly model?: string;
    readonly secret: ClusterSecret;
    /** Told where the nodes can join. */
    readonly listening?: (port: number) => void;
    /** Told whom the cluster refused, and why. */
    readonly refused?: (reason: string) => void;
  };
  /** Milliseconds of silence after which a node is given up. */
  readonly failureTimeoutMs?: number;
  /** Emulated: between nodes; between ranks, where there is one node. Nodes that are awaited are given their own. */
  readonly wire?: WireRate | undefined;
}

const whole = z.int().min(0);

/** Of what may be without end, which JSON tells as null. */
const bound = z
  .number()
  .min(0)
  .nullable()
  .transform((value) => value ?? Infinity);

/** What all ranks of a cluster have in common. */
const settingsSchema = z.object({
  /** How experts are placed for loads that are counted later. */
  expertPolicy: z.enum(expertPolicies),
  policy: z.enum(policies),
  kvMemoryBytes: z.number().min(0),
  chunkRows: z.int().min(1),
  /** Compute threads of each rank; or each node has its ranks share all of its cores. */
  threads: z.union([z.int().min(1), z.literal("all")]).optional(),
  fastDecode: z.boolean().optional(),
  speculate: z.boolean().optional(),
  overlap: z.enum(overlapModes).optional(),
  maxModelLen: z.int().optional(),
  usableTokens: z.int().optional(),
  contextCache: z
    .object({
      store: z.string().max(4096),
      limits: z.object({ maxBytes: bound, maxAgeMs: bound }),
    })
    .optional(),
  /** Spans are recorded, their times counted from here: milliseconds of Unix time. */
  traceEpochMs: z.number().optional(),
});

/** How a cluster begins. */
export interface FleetPlan extends z.infer<typeof settingsSchema> {
  /** As `--topology` spells it. */
  readonly topology: string;
  /** The seat of each rank: which of the nodes that the cluster begins with. */
  readonly nodeOfRank: readonly number[];
  /** By unit: logical expert of each physical one, by layer; null where each rank has all. */
  readonly placements: readonly (number[][] | null)[];
  /** Processes for the ranks, as `assignRanks` has them. */
  readonly nodes: NodeOptions["count"];
}

const rankNumber = z.int().min(0).max(MAXIMUM_RANK);
const rankNode = z.object({ rank: rankNumber, node: whole });

const launchedUnitSchema = z.object({
  /** In order. */
  ranks: z.array(rankNode).min(1),
  placement: z.array(z.array(whole)).nullable(),
  /** Ranks that hand sequences over to these, or take them over from these. */
  partners: z.array(rankNumber),
});

export type LaunchedUnit = z.infer<typeof launchedUnitSchema>;

/** Ranks that are started together: what every node has to know, whether it has some of them or not. */
export const launchSchema = z.object({
  settings: settingsSchema,
  units: z.array(launchedUnitSchema).min(1),
  /** All ranks that may be spoken with, these included. */
  ranks: z.array(rankNode),
});

export type Launch = z.infer<typeof launchSchema>;

export interface PlanOptions extends Omit<
  RankOptions,
  "modelDirectory" | "weights" | "packed" | "place" | "contextCache" | "threads"
> {
  readonly contextCache?: ContextCacheOptions;
  readonly threads?: FleetPlan["threads"];
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
    placements: topology.units.map((unit) =>
      placementOf(experts, config, shapeOf(unit, nodeOfRank)),
    ),
    nodes,
    expertPolicy: (experts !== "replicated" && experts.policy) || defaultPolicy,
    ...(contextCache && { contextCache: { ...contextCache, limits: { ...contextCache.limits } } }),
  };
}

/** Null where each rank has all experts. @throws RangeError where they cannot be placed as asked */
function placementOf(
  experts: ExpertOptions | "replicated",
  config: ModelConfig,
  unit: UnitShape,
): number[][] | null {
  if (unit.ranks === 1 || experts === "replicated") return null;
  return initialPlacement(experts, config, unit).map((layer) => [...layer]);
}

/**
 * Of a unit that is started anew, maybe with fewer ranks: for the loads that are known by then. A
 * placement that was given by hand fits no other number of ranks.
 */
export async function placeAgain(
  experts: ExpertOptions | "replicated",
  config: ModelConfig,
  unit: UnitShape,
  clock: Pick<Clock, "soon">,
  loads?: ExpertLoads,
): Promise<Placement | null> {
  if (experts === "replicated") return null;
  const { placement, redundantExperts, expertLoads, policy } = experts;
  const redundant = placement ? placement[0].length - config.gate.experts : redundantExperts;
  const counted = loads ?? expertLoads;
  const options = {
    ...(redundant !== undefined && { redundantExperts: redundant }),
    ...(policy && { policy }),
  };
  if (!counted || unit.ranks === 1) return placementOf(options, config, unit);
  return balancedInTurns(counted, placingOf(options, config), unit, clock);
}

const partnerOf = { prefill: "decode", decode: "prefill", combined: undefined } as const;

/** Ranks of other units with which those of a role exchange sequences. */
export const partnersOf = (
  role: UnitRole,
  units: readonly { readonly role: UnitRole; readonly ranks: readonly RankNode[] }[],
): number[] =>
  units.flatMap((other) =>
    other.role === partnerOf[role] ? other.ranks.map(({ rank }) => rank) : [],
  );

/** The units that a plan begins with, each rank on the node that has its seat. */
export function firstUnits(plan: FleetPlan): (LaunchedUnit & { readonly role: UnitRole })[] {
  const units = parseTopology(plan.topology).units.map(({ role, ranks }) => ({
    role,
    ranks: ranks.map((rank) => ({ rank, node: plan.nodeOfRank[rank] })),
  }));
  return units.map(({ role, ranks }, index) => ({
    ...{ role, ranks, placement: plan.placements[index] },
    partners: partnersOf(role, units),
  }));
}

/** What all ranks have in common. */
export function settingsOf(plan: FleetPlan): Launch["settings"] {
  const {
    topology: _topology,
    nodeOfRank: _nodes,
    placements: _experts,
    nodes: _count,
    ...settings
  } = plan;
  return settings;
}

/** Where a rank stands, but for what only its own process can give it. */
export function placeOf(units: readonly LaunchedUnit[], rank: number): Omit<RankPlace, "endpoint"> {
  const unit = units.find(({ ranks }) => ranks.some((each) => each.rank === rank));
  if (!unit) throw new RangeError(`rank ${rank} is in no unit`);
  const { ranks, partners, placement } = unit;
  return {
    node: ranks.find((each) => each.rank === rank)?.node ?? 0,
    unit: ranks.map((each) => each.rank),
    unitNodes: ranks.map((each) => each.node),
    partners,
    ...(placement && { placement }),
  };
}
