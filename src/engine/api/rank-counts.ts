import { inTime, type Clock } from "../../cluster/index.ts";
import { EngineError, type RankHandle } from "../fleet/index.ts";
import type { EngineStats } from "../messages.ts";
import { lostStats, noStats, withoutTraffic } from "./engine-stats.ts";

/** Milliseconds that a rank has to tell what it has counted. */
export const STATS_MS = 5000;

/** What ranks have counted; of those that do not tell, what was heard last. */
export class RankCounts {
  readonly #clock: Clock;
  readonly #fellSilent: (rank: number) => void;
  readonly #last = new Map<number, EngineStats>();
  /** Ranks that owe an answer: until they give it they are not asked again. */
  readonly #silent = new Set<number>();

  /** `fellSilent`: told of a rank that has not answered in time. */
  constructor(clock: Clock, fellSilent: (rank: number) => void) {
    this.#clock = clock;
    this.#fellSilent = fellSilent;
  }

  /** Never rejects. */
  async ask(rank: number, handle: RankHandle): Promise<EngineStats> {
    if (this.#silent.has(rank)) return this.last(rank) ?? noStats;
    const answer = handle
      .ask("stats")
      .then(
        (stats) => {
          this.#last.set(rank, stats);
          return stats;
        },
        // It has ended.
        ({ message }: Error) => this.ofLost(rank, message),
      )
      .finally(() => this.#silent.delete(rank));
    const late = () => new EngineError("late");
    return inTime(answer, this.#clock, STATS_MS, late).catch(() => {
      if (!this.#silent.has(rank)) this.#fellSilent(rank);
      this.#silent.add(rank);
      return this.last(rank) ?? noStats;
    });
  }

  /** Undefined where it has told nothing yet. */
  last(rank: number): EngineStats | undefined {
    return this.#last.get(rank);
  }

  ofLost(rank: number, reason: string): EngineStats {
    return lostStats(this.last(rank), reason);
  }

  /** Of a rank that is gone sums are kept, and no more. */
  keepSums(rank: number): void {
    const last = this.last(rank);
    if (last) this.#last.set(rank, withoutTraffic(last));
  }
}
