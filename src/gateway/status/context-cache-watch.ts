import type { Logger } from "pino";
import type { EngineStats } from "../../engine/index.ts";

type Figures = NonNullable<EngineStats["contextCache"]>;

const troubles = {
  late: "reads or writes of the context cache were given up",
  failed: "reads or writes of the context cache failed",
  dropped: "blocks were not written: the context cache does not keep up",
  rejected: "blocks of the context cache were no good and are removed",
} as const;
const troubleKinds = Object.keys(troubles) as (keyof typeof troubles)[];
const directions = { reads: "read", writes: "written" } as const;
const operations = Object.keys(directions) as (keyof typeof directions)[];

/**
 * Tells the log what becomes of each rank's context cache: when it is bypassed and when it is back,
 * and when a kind of trouble begins. What goes on as before is not told again.
 */
export class ContextCacheWatch {
  readonly #log: Pick<Logger, "info" | "warn">;
  readonly #last = new Map<number, Figures>();
  /** Kinds of trouble, by rank, whose counts rose the last time. */
  readonly #rising = new Map<string, boolean>();

  constructor(log: Pick<Logger, "info" | "warn">) {
    this.#log = log;
  }

  /** Compares with the last look. */
  look(ranks: readonly EngineStats[]): void {
    for (const [rank, { contextCache }] of ranks.entries()) {
      if (!contextCache) continue;
      this.#tellBypass(rank, contextCache);
      for (const kind of troubleKinds) this.#tellTrouble(rank, kind, contextCache);
      this.#last.set(rank, contextCache);
    }
  }

  #tellBypass(rank: number, { bypassed }: Figures): void {
    const before = this.#last.get(rank)?.bypassed;
    for (const operation of operations) {
      const reason = bypassed[operation];
      const verb = directions[operation];
      if ((reason === undefined) === (before?.[operation] === undefined)) continue;
      if (reason === undefined) this.#log.info({ rank }, `the context cache is ${verb} again`);
      else this.#log.warn({ rank, reason }, `the context cache is not ${verb} for now`);
    }
  }

  #tellTrouble(rank: number, kind: keyof typeof troubles, figures: Figures): void {
    const before = this.#last.get(rank);
    const rises = countOf(figures, kind) > (before ? countOf(before, kind) : 0);
    const place = `${rank} ${kind}`;
    if (rises && !this.#rising.get(place)) {
      this.#log.warn({ rank, [kind]: figures[kind] }, troubles[kind]);
    }
    this.#rising.set(place, rises);
  }
}

function countOf(figures: Figures, kind: keyof typeof troubles): number {
  const counted = figures[kind];
  if (typeof counted === "number") return counted;
  return Object.values(counted).reduce((sum, count) => sum + count, 0);
}
