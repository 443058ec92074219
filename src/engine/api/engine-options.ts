import type { Clock, Topology } from "../../cluster/index.ts";
import type { WeightMemory } from "../../kernels/index.ts";
import type { HashedBytes, ModelConfig } from "../../model/index.ts";
import type { TraceWriter } from "../../trace/index.ts";
import type { FleetPlan, NodeOptions } from "../fleet/index.ts";
import type { ContextCacheOptions, RankOptions } from "../rank/index.ts";
import type { BlockReading, ExpertOptions, Routing } from "../routing/index.ts";
import type { ScaleChange } from "./unit-scaling.ts";

export interface EngineOptions extends Omit<
  RankOptions,
  "weights" | "place" | "chunkRows" | "contextCache" | "threads"
> {
  readonly contextCache?: ContextCacheOptions;
  /** What of the checkpoint tells its identity; by default a sample of each tensor. */
  readonly modelBytes?: HashedBytes;
  /** On this node and those it starts; by default mapped. */
  readonly weights?: WeightMemory;
  readonly chunkRows?: number;
  readonly threads?: FleetPlan["threads"];
  /** Units and their ranks; by default one that computes prompts and answers alike. */
  readonly topology?: Topology;
  /** Processes over which each unit's ranks are spread; by default this one. */
  readonly nodes?: NodeOptions;
  /** How experts lie over the ranks of a unit, by default in order; or all on each rank. */
  readonly experts?: ExpertOptions | "replicated";
  /** By what ranks are given requests: the balancers, by default, or in turns. */
  readonly routing?: Routing;
  /** Who reads blocks from the context cache; by default who has them sooner. */
  readonly reading?: BlockReading;
  /** Times the events: milliseconds, by default of Unix time. */
  readonly now?: () => number;
}

/** Who hears what befalls the cluster. */
export interface EngineObserver {
  /** Spans of every rank go there. */
  readonly trace?: Pick<TraceWriter, "epochMs" | "write"> | undefined;
  /** Told once for each rank that is gone, or cannot step without one that is. */
  readonly lost?: (rank: number, reason: string) => void;
  /** A rank has not told its counts in time; told again when it has, and then has not again. */
  readonly silent?: (rank: number) => void;
  /** A unit's state is another one. */
  readonly changed?: () => void;
  /** Another number of a role's units is wanted. */
  readonly scaled?: (change: ScaleChange) => void;
  /** Told once for each loss after which requests go on elsewhere: how many, and why. */
  readonly moved?: (requests: number, reason: string) => void;
}

/** What an engine is made of besides its ranks. */
export interface EngineParts {
  readonly plan: FleetPlan;
  readonly config: ModelConfig;
  readonly routing?: Routing | undefined;
  readonly reading?: BlockReading | undefined;
  /** Times the events. */
  readonly now: () => number;
  readonly clock: Clock;
}

/** A unit whose experts were placed anew. */
export interface Rebalanced {
  /** Index among the topology's units. */
  readonly unit: number;
  /** Load of the busiest rank over the mean, for the loads that were counted. */
  readonly before: number;
  readonly after: number;
}
