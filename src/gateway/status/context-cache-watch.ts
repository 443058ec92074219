import type { Logger } from "pino";
import type { EngineStats } from "../../engine/index.ts";

type Figures = NonNullable<EngineStats["contextCache"]>;

/** Counts whose rise is trouble with the store, the worst first. */
const troubles = {
  failed: "the store of the context cache fails",
  late: "the store of the context cache does not answer in time",
  dropped: "blocks are not written: the store of the context cache does not keep up",
  computed: "blocks of the context cache are computed: its store is slower than that",
} as const;
const troubleKinds = Object.keys(troubles) as (keyof typeof troubles)[];
type Trouble = keyof typeof troubles;

/** What all ranks together have counted. */
type Sums = Record<Trouble | "rejected" | "hits" | "answers", number>;

/**
 * Tells the log what becomes of the context cache, for all ranks together: once when there is trouble with
 * its store, again only if that gets worse than slow, and once when it is over; and when blocks begin to be
 * no good. Metrics count what each rank meets.
 */
export class ContextCacheWatch {
  readonly #log: Pick<Logger, "info" | "warn">;
  #last: Sums = noSums();
  #told: Trouble | undefined;
  #isRejecting = false;

  constructor(log: Pick<Logger, "info" | "warn">) {
    this.#log = log;
  }

  /** Compares with the last look. */
  look(ranks: readonly EngineStats[]): void {
    const caches = ranks.flatMap(({ contextCache }) => contextCache ?? []);
    const now = sumsOf(caches);
    const risen = (kind: keyof Sums) => now[kind] - this.#last[kind];
    const reasons = caches.flatMap(({ bypassed }) => [bypassed.reads, bypassed.writes]);
    const reason = reasons.find((each) => each !== undefined);
    // Now and then a block comes late from any store.
    const isTrouble = (kind: Trouble) => risen(kind) > (kind === "computed" ? risen("hits") : 0);
    const trouble = troubleKinds.find(isTrouble);
    const worst = reason === undefined ? trouble : "failed";
    if (worst) this.#tell(worst, reason, now);
    else if (this.#told && risen("answers") > 0) {
      this.#log.info("the context cache is used again");
      this.#told = undefined;
    }
    this.#tellRejected(risen("rejected"), risen("answers"));
    this.#last = now;
  }

  #tell(trouble: Trouble, reason: string | undefined, counts: Sums): void {
    const isWorse = this.#told && isSlowness(this.#told) && !isSlowness(trouble);
    if (this.#told && !isWorse) return;
    this.#told = trouble;
    const facts = { ...(reason !== undefined && { reason }), [trouble]: counts[trouble] };
    this.#log.warn(facts, troubles[trouble]);
  }

  #tellRejected(rejected: number, answers: number): void {
    if (rejected > 0 && !this.#isRejecting) {
      this.#log.warn({ rejected }, "blocks of the context cache were no good and are removed");
    }
    if (rejected > 0 || answers > 0) this.#isRejecting = rejected > 0;
  }
}

const isSlowness = (trouble: Trouble) => trouble === "dropped" || trouble === "computed";

const noSums = (): Sums => ({
  ...{ failed: 0, late: 0, dropped: 0, computed: 0, rejected: 0, hits: 0, answers: 0 },
});

function sumsOf(caches: readonly Figures[]): Sums {
  const sums = noSums();
  for (const { failed, late, dropped, computed, rejected, hits, misses, written } of caches) {
    const removed = Object.values(rejected).reduce((sum, count) => sum + count, 0);
    sums.failed += failed;
    sums.late += late;
    sums.dropped += dropped;
    sums.computed += computed;
    sums.rejected += removed;
    sums.hits += hits;
    sums.answers += hits + misses + written;
  }
  return sums;
}
