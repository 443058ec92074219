import type { RankEndpoint } from "../../cluster/index.ts";
import type { SharedExchange } from "../../expert-parallel/index.ts";
import type { Policy, WeightMemory } from "../../kernels/index.ts";
import type { StoreLimits } from "../../kv-cache/index.ts";
import type { ModelIdentity } from "../../model/index.ts";
import type { OverlapMode } from "./overlap-vote.ts";

/** Logical expert of each physical one of a unit, by layer of routed experts. */
export type Placement = readonly (readonly number[])[];

/** A rank's place among the ranks of the cluster. */
export interface RankPlace {
  /** Connects the rank to all others. */
  readonly endpoint: RankEndpoint;
  /** Number of its process in the cluster. */
  readonly node: number;
  /** The ranks of its unit in order; they step together where they share experts. */
  readonly unit: readonly number[];
  /** The node of each of them. */
  readonly unitNodes: readonly number[];
  /** Ranks that hand sequences over to this one, or take them over from it. */
  readonly partners: readonly number[];
  /** Logical expert of each physical one, by layer of routed experts; undefined: all on each rank. */
  readonly placement?: Placement;
  /** Of a unit that shares experts and whose ranks are all in this process. */
  readonly shared?: SharedExchange;
  /** By which the ranks of a process share the threads for files; a rank alone needs none. */
  readonly filePermits?: SharedArrayBuffer;
}

/** A store, which others may share, for the blocks that outlive the pool. */
export interface ContextCacheOptions {
  /** A folder, or a server's URL (`openBlobStore`). */
  readonly store: string;
  readonly limits: StoreLimits;
}

export interface RankOptions {
  readonly modelDirectory: string;
  readonly weights: WeightMemory;
  /** A file of the checkpoint's linear weights in strips, on this machine. */
  readonly packed?: string | undefined;
  readonly policy: Policy;
  /** Memory for the rank's KV pool; the model's context ends where the pool does. */
  readonly kvMemoryBytes: number;
  /** Compute threads, as far as the machine's cores go; by default 1. */
  readonly threads?: number;
  /** Faster kernels for single rows, where there are any; not for several ranks. */
  readonly fastDecode?: boolean;
  /** Guesses tokens that contexts repeat, and computes them ahead where that is faster. */
  readonly speculate?: boolean;
  /** Whether two micro-batches of a unit's step overlap; by default not. */
  readonly overlap?: OverlapMode;
  /** At most what the model and the pool allow. */
  readonly maxModelLen?: number;
  /** Rows of a step: what decode leaves of it goes to prompt chunks. */
  readonly chunkRows: number;
  /** Tokens from here on are never generated: rows of the vocabulary that no token uses. */
  readonly usableTokens?: number;
  /** With the model whose blocks they are. */
  readonly contextCache?: ContextCacheOptions & { readonly model: ModelIdentity };
  readonly place: RankPlace;
}
