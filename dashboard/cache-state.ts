import type { StatusSnapshot } from "../src/gateway/status/status-snapshot.ts";

/** Pages of all ranks together. */
export interface PoolState {
  readonly total: number;
  readonly inUse: number;
  readonly cached: number;
}

export function poolOf({ units }: StatusSnapshot): PoolState {
  const pages = units.flatMap(({ ranks }) => ranks.map((rank) => rank.pages));
  const sum = (kind: keyof PoolState) => pages.reduce((total, each) => total + each[kind], 0);
  return { total: sum("total"), inUse: sum("inUse"), cached: sum("cached") };
}

/** The blocks that are kept outside the ranks, by what all ranks together have asked of their store. */
export interface DiskState {
  /** Blocks. */
  readonly hits: number;
  readonly misses: number;
  /** By decode ranks, to those that compute prompts. */
  readonly lent: number;
  readonly written: number;
  /** Blocks not written, and reads and writes without an answer or of no good. */
  readonly troubles: number;
  readonly bytesWritten: number;
  /** Bytes a second, lately. */
  readonly reading: number;
  readonly writing: number;
  /** What ranks do not ask of the store for now. */
  readonly bypassed: readonly ("reads" | "writes")[];
}

/** Undefined: there is no store. */
export function diskOf(recent: readonly StatusSnapshot[]): DiskState | undefined {
  const now = recent.at(-1);
  const caches = cachesOf(now);
  if (!now || caches.length === 0) return undefined;
  const before = recent.at(-2);
  const sum = (
    kind: "hits" | "misses" | "lent" | "written" | "bytesRead" | "bytesWritten",
    of = caches,
  ) => of.reduce((total, cache) => total + cache[kind], 0);
  const rate = (kind: "bytesRead" | "bytesWritten") =>
    before && now.seconds > 0
      ? Math.max(0, sum(kind) - sum(kind, cachesOf(before))) / now.seconds
      : 0;
  return {
    ...{ hits: sum("hits"), misses: sum("misses"), lent: sum("lent"), written: sum("written") },
    troubles: caches.reduce(
      (total, { dropped, late, failed, rejected }) => total + dropped + late + failed + rejected,
      0,
    ),
    bytesWritten: sum("bytesWritten"),
    ...{ reading: rate("bytesRead"), writing: rate("bytesWritten") },
    bypassed: (["reads", "writes"] as const).filter((each) =>
      caches.some(({ bypassed }) => bypassed.includes(each)),
    ),
  };
}

const cachesOf = (status: StatusSnapshot | undefined) =>
  status?.units.flatMap(({ ranks }) => ranks.flatMap(({ contextCache }) => contextCache ?? [])) ??
  [];
