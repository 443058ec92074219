/**
 * How many of a batch's rows each replica of an expert computes: what DeepSeek's LPLB
 * (github.com/deepseek-ai/LPLB) decides with a linear program, in whole rows and without random
 * numbers. A (row, choice) of the batch is a pair here.
 */

/** A layer's replicas and what a batch asks of them. */
export interface BatchLoads {
  /** [experts]: pairs. */
  readonly pairs: ArrayLike<number>;
  /** [experts]: the ranks that hold the expert, each once. */
  readonly ranksOf: readonly (readonly number[])[];
  readonly ranks: number;
  /** Equals are taken in turns from here on, so that senders who decide alone do not all take the first. */
  readonly turn?: number;
}

/** [experts][replicas]: pairs that each replica takes; they add up to the expert's. */
export type ReplicaShares = number[][];

/** How often each expert is poured: a fourth time wins nothing that matters. */
const SWEEPS = 3;

/**
 * Replicas begin with equal shares. Then each expert in turn takes its pairs back and pours them over
 * the ranks that hold it, to one level as far as they reach. No turn makes the busiest of those ranks
 * busier, so that the result is never worse than equal shares. `native/host/replica-shares.h` does the same.
 */
export function waterfill({ pairs, ranksOf, ranks, turn = 0 }: BatchLoads): ReplicaShares {
  const shares = ranksOf.map((held, expert) => equalShares(pairs[expert], held.length, turn));
  const loads = rankLoads({ ranksOf, ranks }, shares);
  for (let sweep = 0; sweep < SWEEPS; sweep++) {
    for (const [expert, held] of ranksOf.entries()) {
      if (held.length === 1 || pairs[expert] === 0) continue;
      held.forEach((rank, replica) => (loads[rank] -= shares[expert][replica]));
      shares[expert] = pour(pairs[expert], held, loads, turn);
      held.forEach((rank, replica) => (loads[rank] += shares[expert][replica]));
    }
  }
  return shares;
}

function equalShares(pairs: number, replicas: number, turn: number): number[] {
  const each = Math.floor(pairs / replicas);
  return Array.from({ length: replicas }, (_, replica) =>
    (replica + turn) % replicas < pairs - each * replicas ? each + 1 : each,
  );
}

/** Pairs on the ranks that hold their expert, so that the highest level they reach is the lowest. */
function pour(
  pairs: number,
  held: readonly number[],
  loads: readonly number[],
  turn: number,
): number[] {
  const turnOf = (replica: number) => (replica + turn) % held.length;
  const lowest = [...held.keys()].sort(
    (a, b) => loads[held[a]] - loads[held[b]] || turnOf(a) - turnOf(b),
  );
  const levels = lowest.map((replica) => loads[held[replica]]);
  let filled = 1;
  let left = pairs;
  while (filled < levels.length && left >= (levels[filled] - levels[filled - 1]) * filled) {
    left -= (levels[filled] - levels[filled - 1]) * filled;
    filled++;
  }
  const shares = held.map(() => 0);
  for (let i = 0; i < filled; i++) {
    const rest = i < left % filled ? 1 : 0;
    shares[lowest[i]] = levels[filled - 1] - levels[i] + Math.floor(left / filled) + rest;
  }
  return shares;
}

/**
 * The linear program's optimum in whole pairs: no other shares give the busiest rank less. After the
 * waterfill, pairs go from the busiest rank to another along chains of replicas while that helps.
 */
export function evenShares(batch: BatchLoads): ReplicaShares {
  const shares = waterfill(batch);
  const loads = rankLoads(batch, shares);
  const replicas = replicasByRank(batch);
  for (;;) {
    const busiest = loads.indexOf(Math.max(...loads));
    const chain = chainFrom(busiest, { ...batch, replicas, shares, loads });
    if (!chain) return shares;
    const { to } = chain[chain.length - 1];
    const gap = Math.floor((loads[busiest] - loads[to]) / 2);
    const moved = Math.min(gap, ...chain.map(({ expert, replica }) => shares[expert][replica]));
    for (const { expert, replica, other } of chain) {
      shares[expert][replica] -= moved;
      shares[expert][other] += moved;
    }
    loads[busiest] -= moved;
    loads[to] += moved;
  }
}

/** [ranks]: pairs of each. */
export function rankLoads(
  { ranksOf, ranks }: Pick<BatchLoads, "ranksOf" | "ranks">,
  shares: ReplicaShares,
): number[] {
  const loads = Array.from({ length: ranks }, () => 0);
  for (const [expert, held] of ranksOf.entries()) {
    held.forEach((rank, replica) => (loads[rank] += shares[expert][replica]));
  }
  return loads;
}

interface Replica {
  readonly expert: number;
  /** Its index among the expert's. */
  readonly replica: number;
}

/** [ranks]: the replicas that are not their expert's only one. */
function replicasByRank({ ranksOf, ranks }: BatchLoads): Replica[][] {
  const byRank = Array.from({ length: ranks }, (): Replica[] => []);
  for (const [expert, held] of ranksOf.entries()) {
    if (held.length > 1) held.forEach((rank, replica) => byRank[rank].push({ expert, replica }));
  }
  return byRank;
}

/** A way for an expert's pairs, from a replica to the `other` one, which is on the rank `to`. */
interface Link extends Replica {
  readonly from: number;
  readonly to: number;
  readonly other: number;
}

interface Shared extends BatchLoads {
  readonly replicas: readonly (readonly Replica[])[];
  readonly shares: ReplicaShares;
  /** [ranks] */
  readonly loads: readonly number[];
}

/** The shortest way from a rank to the least busy one that its pairs can reach, if that helps. */
function chainFrom(start: number, shared: Shared): Link[] | undefined {
  const { ranksOf, replicas, shares, loads } = shared;
  const reachedBy = new Map<number, Link | undefined>([[start, undefined]]);
  // A map's iterator comes to what is added meanwhile.
  for (const from of reachedBy.keys()) {
    for (const { expert, replica } of replicas[from]) {
      if (shares[expert][replica] === 0) continue;
      for (const [other, to] of ranksOf[expert].entries()) {
        if (!reachedBy.has(to)) reachedBy.set(to, { expert, replica, from, to, other });
      }
    }
  }
  const lowest = [...reachedBy.keys()].reduce((a, b) => (loads[b] < loads[a] ? b : a));
  if (loads[lowest] > loads[start] - 2) return undefined;
  const chain: Link[] = [];
  for (let link = reachedBy.get(lowest); link; link = reachedBy.get(link.from)) chain.unshift(link);
  return chain;
}
