/** What should not be in what a virtual cluster has told and left. */
import { answer, untimed } from "../../engine/api/fixtures.ts";
import type { GenerationEvent, TimedEvent } from "../../engine/messages.ts";
import { POISON, type ChaosRequest } from "./chaos-schedule.ts";

/** What a schedule has shown. */
export interface ChaosOutcome {
  /** What should not be; empty where all is well. */
  readonly problems: readonly string[];
  readonly finished: number;
  readonly cancelled: number;
  readonly resumed: number;
  readonly recomputedTokens: number;
  readonly lostRanks: number;
  readonly startedUnits: number;
}

/** What is left when nothing more happens. */
export interface Played {
  /** By sequence; undefined where it hangs. */
  readonly told: readonly (readonly TimedEvent[] | undefined)[];
  /** What should not be left. */
  readonly left: readonly string[];
  readonly lostRanks: number;
  /** After those that the cluster began with. */
  readonly startedUnits: number;
}

/** A choice of a request. */
interface Sequence {
  readonly of: ChaosRequest;
  readonly asked: { readonly id: string };
}

export function judge(
  sequences: readonly Sequence[],
  undisturbed: Played["told"],
  { told, left, lostRanks, startedUnits }: Played,
): ChaosOutcome {
  const problems = [...left];
  const counts = { finished: 0, cancelled: 0, resumed: 0, recomputedTokens: 0 };
  const expected = undisturbed.map((events) => answer(untimed(events ?? [])));
  for (const [i, { of, asked }] of sequences.entries()) {
    const events = told[i];
    if (!events) {
      problems.push(`request ${asked.id} hangs`);
      continue;
    }
    for (const event of events) {
      if (event.kind !== "resumed") continue;
      counts.resumed++;
      counts.recomputedTokens += event.recomputedTokens;
    }
    const last = untimed(events).at(-1);
    if (last?.kind === "finished") counts.finished++;
    else if (of.patience !== undefined && last?.kind !== "failed") counts.cancelled++;
    const problem = problemWith(of, untimed(events), expected[i]);
    if (problem !== undefined) problems.push(`request ${asked.id}: ${problem}`);
  }
  return { problems, ...counts, lostRanks, startedUnits };
}

function problemWith(
  { prompt, patience }: ChaosRequest,
  events: readonly GenerationEvent[],
  expected: readonly GenerationEvent[] | undefined,
): string | undefined {
  const last = events.at(-1);
  if (prompt.includes(POISON)) {
    const isNamed = last?.kind === "failed" && last.code === "request_failed_thrice";
    return isNamed ? undefined : `expected to fail by name, got ${JSON.stringify(last)}`;
  }
  const got = answer(events);
  const isWhole = last?.kind === "finished";
  if (!isWhole && (patience === undefined || last?.kind === "failed")) return JSON.stringify(last);
  const due = isWhole ? expected : expected?.slice(0, got.length);
  if (JSON.stringify(got) !== JSON.stringify(due)) return "the answer is another";
  const started = events.flatMap((event) => (event.kind === "started" ? [event.hitTokens] : []));
  if (started.length > 1) return "it has started twice";
  const [hits = 0] = started;
  if (hits % 64 !== 0 || hits >= prompt.length) return `${hits} hits of ${prompt.length} tokens`;
  return undefined;
}
