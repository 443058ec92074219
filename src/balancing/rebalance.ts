/** When a layer's experts move by themselves. */
import { evenShares, rankLoads } from "./replica-shares.ts";

/** How often each logical expert was chosen. [layers][experts] */
type Loads = readonly (readonly number[])[];

/** What of a window's weight the one before it has. */
const FADING = 0.5;

/**
 * Loads of the window that comes, from those that were: a mean in which each window counts half as much as
 * the one after it.
 * @param windows oldest first, one or more
 */
export function predictLoads(windows: readonly Loads[]): number[][] {
  let weight = 0;
  const sums = windows[0].map((layer) => layer.map(() => 0));
  for (const [age, window] of windows.toReversed().entries()) {
    const own = FADING ** age;
    weight += own;
    for (const [l, layer] of window.entries()) {
      for (const [expert, load] of layer.entries()) sums[l][expert] += own * load;
    }
  }
  return sums.map((layer) => layer.map((sum) => Math.round(sum / weight)));
}

export interface MoveWorth {
  /** Windows for which a placement is expected to stay right. */
  readonly windows: number;
  /** (row, expert) pairs that a rank computes while it reads an expert's weights. */
  readonly pairsPerMove: number;
  /** Of what the busiest rank has: less is not worth a move. */
  readonly leastShare: number;
}

export const moveWorth: MoveWorth = { windows: 8, pairsPerMove: 256, leastShare: 0.02 };

/** A layer's placement and another. [ranks × slots] */
export interface LayerMove {
  readonly from: readonly number[];
  readonly to: readonly number[];
  readonly ranks: number;
}

/**
 * Whether another placement of a layer gains more for the loads of a window, as often as it is expected to
 * come, than reading the experts costs that come to new ranks: a step waits for its busiest rank, and for
 * the one that reads most.
 */
export function isWorthMoving(
  loads: readonly number[],
  { from, to, ranks }: LayerMove,
  { windows, pairsPerMove, leastShare }: MoveWorth = moveWorth,
): boolean {
  const before = busiestPairs(loads, from, ranks);
  const gained = before - busiestPairs(loads, to, ranks);
  const most = Math.max(...newExperts({ from, to, ranks }));
  return gained > leastShare * before && windows * gained > pairsPerMove * most;
}

/** Whether any placement could be worth moving to: the even one, a single expert's read away. */
export function mayBeWorthMoving(
  loads: readonly number[],
  from: readonly number[],
  ranks: number,
  { windows, pairsPerMove, leastShare }: MoveWorth = moveWorth,
): boolean {
  const before = busiestPairs(loads, from, ranks);
  const gained = before - loads.reduce((sum, load) => sum + load, 0) / ranks;
  return gained > leastShare * before && windows * gained > pairsPerMove;
}

/** Pairs of a layer's busiest rank, replicas sharing as evenly as they can. */
export function busiestPairs(
  loads: readonly number[],
  placement: readonly number[],
  ranks: number,
): number {
  const ranksOf = loads.map((): number[] => []);
  const slots = placement.length / ranks;
  for (const [place, expert] of placement.entries()) {
    const rank = Math.floor(place / slots);
    if (!ranksOf[expert].includes(rank)) ranksOf[expert].push(rank);
  }
  const batch = { pairs: loads, ranksOf, ranks };
  return Math.max(...rankLoads(batch, evenShares(batch)));
}

/** [ranks]: experts that come to each. */
export function newExperts({ from, to, ranks }: LayerMove): number[] {
  const slots = to.length / ranks;
  return Array.from({ length: ranks }, (_, rank) => {
    const held = new Set(from.slice(rank * slots, (rank + 1) * slots));
    return to.slice(rank * slots, (rank + 1) * slots).filter((expert) => !held.has(expert)).length;
  });
}
