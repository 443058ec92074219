/** A schedule of chaos as data, drawn from a seed: a cluster, requests, and what befalls them. */
import { assignRanks, parseTopology, type UnitRole } from "../../cluster/index.ts";
import { greedySampling, randomSource, type SamplingParameters } from "../../kernels/index.ts";

export const cacheStates = ["off", "cold", "warm", "damaged", "slow"] as const;

export interface ChaosRequest {
  /** Virtual milliseconds. */
  readonly at: number;
  readonly prompt: readonly number[];
  readonly maxTokens: number;
  readonly stopTokens: readonly number[];
  /** Choices of the prompt. */
  readonly n: number;
  readonly sampling: SamplingParameters;
  readonly topLogprobs?: number;
  readonly isConstrained: boolean;
  /** Milliseconds after which the client leaves. */
  readonly patience?: number;
  readonly tenant: string;
}

/**
 * `kill`: ranks end like their node; `freeze`: they fall silent, which is noticed late; `cut`: two ranks
 * lose each other, then their node is given up; `fault`: a rank's next step throws.
 */
export type Mishap = { readonly at: number } & (
  | { readonly kind: "kill" | "freeze"; readonly ranks: readonly number[] }
  | { readonly kind: "cut"; readonly from: number; readonly ranks: readonly number[] }
  | { readonly kind: "fault"; readonly rank: number }
  | { readonly kind: "rebalance" }
  | Passing
);

/**
 * What befalls a cluster that recovers, whose nodes and ranks get new numbers: `pick` chooses of those that
 * there are then. `break`: a rank's thread ends; `trip`: its next step throws; a node that is killed, falls
 * silent or loses its way to another one comes again after so many milliseconds, if at all.
 */
export type Passing =
  | { readonly kind: "break"; readonly pick: number }
  | { readonly kind: "trip"; readonly pick: number }
  | {
      readonly kind: "nodeKilled" | "nodeSilent" | "nodeSevered";
      readonly pick: number;
      readonly back: number | undefined;
    }
  | { readonly kind: "join" }
  | { readonly kind: "scale"; readonly wanted: Wanted };

/** How many units of each role are wanted. */
export type Wanted = Readonly<Partial<Record<UnitRole, number>>>;

export interface ChaosSchedule {
  readonly seed: number;
  readonly topology: string;
  readonly nodes: number | readonly number[];
  readonly sharesExperts: boolean;
  /** What is lost is started anew where there are nodes for it; else it stays lost. */
  readonly recovers: boolean;
  /** Of each rank's pool. */
  readonly pages: number;
  readonly stepRows: number;
  readonly speculates: boolean;
  /** Steps do not wait for all that constrained answers are told of which tokens may come. */
  readonly hasLateMasks: boolean;
  readonly cache: (typeof cacheStates)[number];
  readonly requests: readonly ChaosRequest[];
  readonly mishaps: readonly Mishap[];
}

/** Tokens that prompts and answers are made of. */
export const CHAOS_VOCABULARY = 24;
/** Whatever has it in its context breaks the step; no answer does. */
export const POISON = CHAOS_VOCABULARY - 1;

const LONGEST_PROMPT = 200;
const LONGEST_ANSWER = 50;
const PAGE_TOKENS = 64;

/** Numbers and choices from a seed. */
export class Draw {
  readonly #random: () => number;

  constructor(seed: number) {
    this.#random = randomSource(seed);
  }

  /** A whole number below a bound. */
  below(bound: number): number {
    return Math.floor(this.#random() * bound);
  }

  between(least: number, most: number): number {
    return least + this.below(most - least + 1);
  }

  oneOf<T>(values: readonly T[]): T {
    return values[this.below(values.length)];
  }

  chance(share: number): boolean {
    return this.#random() < share;
  }
}

/** One unit is left in peace; what is lost stays lost. */
export function drawLosses(seed: number): ChaosSchedule {
  const draw = new Draw(seed);
  const topology = drawTopology(draw);
  const sharesExperts = draw.chance(0.5);
  const { units } = parseTopology(topology);
  const nodes = draw.chance(0.5) ? units.map(({ ranks }) => draw.between(1, ranks.length)) : 1;
  const requests = drawRequests(draw, { most: 8, within: 120 });
  const cluster = { topology, nodes, sharesExperts };
  const mishaps = drawMishaps(draw, cluster);
  // With two faults beside it another request might be alone with the third.
  const isCalm = !mishaps.some(({ kind }) => kind === "fault");
  if (isCalm && draw.chance(0.1) && survivesPoison(cluster, mishaps)) requests.push(poisoned(draw));
  const losses = { recovers: false, hasLateMasks: false };
  return { ...{ seed, ...cluster, ...losses, requests, mishaps }, ...drawSizes(draw) };
}

/** Of each rank, and what it is beside. */
export function drawSizes(draw: Draw) {
  const fewestPages = Math.ceil((LONGEST_PROMPT + LONGEST_ANSWER + 1) / PAGE_TOKENS);
  return {
    pages: draw.between(fewestPages, 4 * fewestPages),
    stepRows: draw.oneOf([8, 32, 64, 128]),
    speculates: draw.chance(0.5),
    cache: draw.chance(0.5) ? "off" : draw.oneOf(cacheStates),
  };
}

/** Two and more, which come within so many milliseconds. */
export function drawRequests(
  draw: Draw,
  { most, within }: { readonly most: number; readonly within: number },
): ChaosRequest[] {
  return Array.from({ length: draw.between(2, most) }, () => drawRequest(draw, within));
}

export function drawTopology(draw: Draw): string {
  const units = () => `${draw.between(1, 3)}x${draw.between(1, 3)}`;
  if (draw.chance(0.4)) return `combined=${draw.between(2, 4)}x${draw.between(1, 3)}`;
  return `prefill=${units()},decode=${units()}`;
}

function drawRequest(draw: Draw, within: number): ChaosRequest {
  const length = draw.between(1, LONGEST_PROMPT);
  // Two kinds of prompts, which begin alike.
  const kind = draw.below(2);
  const own = draw.below(length + 1);
  const token = (i: number) => (i < own ? (kind + i * i) % POISON : draw.below(POISON));
  const isSeeded = draw.chance(0.5);
  const penalties = { presencePenalty: 0.5, frequencyPenalty: 0.3, repetitionPenalty: 1.2 };
  return {
    at: draw.below(within),
    prompt: Array.from({ length }, (_, i) => token(i)),
    maxTokens: draw.between(1, LONGEST_ANSWER),
    stopTokens: draw.chance(0.3) ? [draw.below(POISON)] : [],
    n: draw.chance(0.2) ? draw.between(2, 3) : 1,
    sampling: {
      ...greedySampling,
      logitBias: { [POISON]: -100 },
      ...(isSeeded && { temperature: 0.8, topP: 0.95, seed: draw.below(2 ** 31) }),
      ...(draw.chance(0.3) && penalties),
      ...(draw.chance(0.2) && { barred: { tokens: [draw.below(POISON)], before: 15 } }),
    },
    ...(draw.chance(0.5) && { topLogprobs: draw.below(4) }),
    isConstrained: draw.chance(0.2),
    ...(draw.chance(0.2) && { patience: draw.below(400) }),
    tenant: `${draw.below(2)}`,
  };
}

const poisoned = (draw: Draw): ChaosRequest => {
  const { patience: _, ...request } = drawRequest(draw, 120);
  return { ...request, n: 1, prompt: [...request.prompt.slice(0, 40), POISON, 1] };
};

type Cluster = Pick<ChaosSchedule, "topology" | "nodes" | "sharesExperts">;

function drawMishaps(draw: Draw, cluster: Cluster): Mishap[] {
  const { units, ranks: count } = parseTopology(cluster.topology);
  const nodeOfRank = assignRanks(parseTopology(cluster.topology), cluster.nodes);
  const safe = draw.oneOf(units).ranks;
  const safeNodes = new Set(safe.map((rank) => nodeOfRank[rank]));
  const others = [...Array(count).keys()].filter((rank) => !safe.includes(rank));
  const mishaps: Mishap[] = [];
  const at = () => draw.below(500);
  for (let left = draw.between(1, 4); left > 0 && others.length > 0; left--) {
    const rank = draw.oneOf(others);
    const node = nodeOfRank[rank];
    // A process takes all its ranks along, unless those in peace are among them.
    const ranks = safeNodes.has(node)
      ? [rank]
      : [...nodeOfRank.keys()].filter((r) => nodeOfRank[r] === node);
    const kind = draw.oneOf(["kill", "kill", "freeze", "cut", "rebalance"] as const);
    if (kind === "rebalance") mishaps.push({ kind, at: at() });
    else if (kind === "cut") mishaps.push({ kind, at: at(), from: draw.oneOf(safe), ranks });
    else mishaps.push({ kind, at: at(), ranks });
  }
  // A third fault may find a request alone, and end it.
  for (let faults = draw.below(3); faults > 0; faults--) {
    const rank = cluster.sharesExperts ? draw.oneOf([...others, undefined]) : draw.below(count);
    if (rank !== undefined) mishaps.push({ kind: "fault", at: at(), rank });
  }
  return mishaps.sort((a, b) => a.at - b.at);
}

/** Whether a unit is left to the others once a request has taken three along, besides those lost otherwise. */
function survivesPoison({ topology, sharesExperts }: Cluster, mishaps: readonly Mishap[]): boolean {
  if (!sharesExperts) return true;
  const { units } = parseTopology(topology);
  const lost = mishaps.flatMap((each) => ("ranks" in each ? each.ranks : []));
  const whole = units.filter(({ ranks }) => !ranks.some((rank) => lost.includes(rank)));
  return whole.length > 3;
}
