import {
  evenShares,
  maxOverMean,
  rankLoads,
  rebalanceExperts,
  waterfill,
  type BatchLoads,
  type ExpertPolicy,
} from "../../balancing/index.ts";
import type { Routing } from "./dispatch-traffic.ts";

export interface BalanceSetting {
  readonly experts: number;
  readonly topK: number;
  readonly ranks: number;
  /** Physical experts beyond the logical ones; ranks have as many slots each. */
  readonly redundant: number;
  /** Tokens whose loads are known when experts are placed, and tokens they are then judged by. */
  readonly windowTokens: number;
  /** Of all ranks together, which have as many each. */
  readonly batchTokens: number;
}

/** How a batch's rows find a replica of their expert: pairs of each rank. */
const choices = {
  /** Replicas of an expert get equally many, two on one rank too. */
  turns: ({ places, batch: { pairs, ranks } }: Step) => {
    const loads = Array.from({ length: ranks }, () => 0);
    for (const [expert, held] of places.entries()) {
      for (const rank of held) loads[rank] += pairs[expert] / held.length;
    }
    return loads;
  },
  waterfill: ({ batch }: Step) => rankLoads(batch, waterfill(batch)),
  linear: ({ batch }: Step) => rankLoads(batch, evenShares(batch)),
  /** Each sender pours its own rows, as the live dispatch does. */
  alone: ({ batch, bySender }: Step) =>
    bySender
      .map((pairs, turn) => rankLoads(batch, waterfill({ ...batch, pairs, turn })))
      .reduce((sum, loads) => sum.map((load, rank) => load + loads[rank])),
};

interface Step {
  readonly batch: BatchLoads;
  /** [experts]: the rank of each replica. */
  readonly places: readonly number[][];
  /** [ranks][experts] */
  readonly bySender: readonly number[][];
}

export const ways = {
  eplb: ["eplb", "turns"],
  best: ["best", "turns"],
  "eplb + waterfill": ["eplb", "waterfill"],
  "best + waterfill, each sender alone": ["best", "alone"],
  "best + waterfill": ["best", "waterfill"],
  "best + LP": ["best", "linear"],
} as const satisfies Record<string, readonly [ExpertPolicy, keyof typeof choices]>;

export type Way = keyof typeof ways;

/**
 * Receive load of the busiest rank over the mean, the mean over batches and layers, by way of
 * placing experts and choosing replicas. `bound`: what no placement of so many replicas could go below.
 */
export function replicaBalance(
  routing: Routing,
  setting: BalanceSetting,
): Record<Way | "bound", number> {
  const { topK, windowTokens, batchTokens } = setting;
  const sums = new Map<Way | "bound", number>();
  const add = (way: Way | "bound", value: number) => sums.set(way, (sums.get(way) ?? 0) + value);
  let steps = 0;
  for (const ids of routing) {
    const tokens = ids.length / topK;
    for (let from = windowTokens; from + windowTokens <= tokens; from += windowTokens) {
      const loads = countsOf(ids, from - windowTokens, from, setting);
      const held = { eplb: placed(loads, "eplb", setting), best: placed(loads, "best", setting) };
      for (let at = from; at < from + windowTokens; at += batchTokens) {
        steps++;
        const pairs = countsOf(ids, at, at + batchTokens, setting);
        add("bound", bound(pairs, setting));
        for (const [way, [policy, choice]] of Object.entries(ways)) {
          const places = held[policy];
          const ranksOf = places.map((ranks) => [...new Set(ranks)]);
          const batch = { pairs, ranksOf, ranks: setting.ranks };
          const received = choices[choice]({ batch, places, bySender: senders(ids, at, setting) });
          add(way as Way, maxOverMean(received));
        }
      }
    }
  }
  return Object.fromEntries([...sums].map(([way, sum]) => [way, sum / steps])) as Record<
    Way | "bound",
    number
  >;
}

/** How often each expert is chosen by tokens from here to there. */
function countsOf(
  ids: Int32Array,
  from: number,
  to: number,
  { topK, experts }: BalanceSetting,
): number[] {
  const counts = Array.from({ length: experts }, () => 0);
  for (const id of ids.subarray(from * topK, to * topK)) counts[id]++;
  return counts;
}

function senders(ids: Int32Array, at: number, setting: BalanceSetting): number[][] {
  const { ranks, batchTokens } = setting;
  const end = (rank: number) => at + Math.floor((batchTokens * rank) / ranks);
  return Array.from({ length: ranks }, (_, rank) =>
    countsOf(ids, end(rank), end(rank + 1), setting),
  );
}

/** [experts]: the rank of each replica. */
function placed(
  loads: readonly number[],
  policy: ExpertPolicy,
  { ranks, redundant, experts }: BalanceSetting,
): number[][] {
  const slots = Math.ceil((experts + redundant) / ranks);
  const topology = { replicas: slots * ranks, groups: 1, nodes: 1, ranks };
  const [map] = rebalanceExperts([loads], { ...topology, policy }).physicalToLogical;
  const held = loads.map((): number[] => []);
  for (const [place, expert] of map.entries()) held[expert].push(Math.floor(place / slots));
  return held;
}

/**
 * The lowest highest load for which there are replicas enough, each of which carries at most that:
 * nothing in it says that they can be packed.
 */
function bound(pairs: readonly number[], { ranks, redundant, experts }: BalanceSetting): number {
  const slots = Math.ceil((experts + redundant) / ranks) * ranks;
  const mean = pairs.reduce((sum, load) => sum + load, 0) / ranks;
  const needs = (most: number) =>
    pairs.reduce((sum, load) => sum + Math.max(1, Math.ceil(load / most)), 0);
  let most = Math.ceil(mean);
  while (needs(most) > slots) most++;
  return Math.max(1, most / mean);
}
