import type { ReplicaChoices } from "../kernels/index.ts";
import type { LayerPlacement } from "./placement.ts";

/** What one rank gets of a sender's rows: each row once, however many of its experts lie there. */
export interface DispatchPart {
  /** Source rows, ascending. */
  readonly rows: number[];
  /** For each (row, choice) that goes there: its row's index in `rows`, and the expert's slot. */
  readonly pairRows: number[];
  readonly pairSlots: number[];
}

/** Which rows go where (DeepEP's dispatch layout). */
export interface DispatchLayout {
  /** By destination rank. */
  readonly parts: readonly DispatchPart[];
  /** Where the output of (row, choice) lies once all parts' outputs stand in rank order. */
  readonly places: Int32Array;
}

const kept = new WeakMap<LayerPlacement, ReplicaChoices[]>();

/**
 * Where a rank's rows find an expert: on the own rank if it has a replica, else replicas take turns
 * by row. The choice moves work, never bits.
 */
export function replicaChoices(placement: LayerPlacement, ownRank: number): ReplicaChoices {
  const byRank = kept.get(placement) ?? [];
  kept.set(placement, byRank);
  return (byRank[ownRank] ??= chooseReplicas(placement, ownRank));
}

function chooseReplicas({ replicas, slots }: LayerPlacement, ownRank: number): ReplicaChoices {
  const lists = replicas.map((places) => {
    const own = places.find((place) => Math.floor(place / slots) === ownRank);
    return own === undefined ? places : [own];
  });
  const ends = exclusiveSums([...lists.map((places) => places.length), 0]);
  return { starts: Int32Array.from(ends), places: Int32Array.from(lists.flat()) };
}

/**
 * Plans a dispatch.
 * @param ids [rows, topK] logical experts
 */
export function dispatchLayout(
  ids: Int32Array,
  rows: number,
  topK: number,
  placement: LayerPlacement,
  ownRank: number,
): DispatchLayout {
  const { ranks, slots } = placement;
  const { starts, places: replicas } = replicaChoices(placement, ownRank);
  const parts = Array.from({ length: ranks }, () => ({
    rows: [] as number[],
    pairRows: [] as number[],
    pairSlots: [] as number[],
  }));
  const pairRanks = new Int32Array(rows * topK);
  const places = new Int32Array(rows * topK);
  for (let row = 0; row < rows; row++) {
    for (let pair = row * topK; pair < (row + 1) * topK; pair++) {
      const first = starts[ids[pair]];
      const physical = replicas[first + (row % (starts[ids[pair] + 1] - first))];
      const rank = Math.floor(physical / slots);
      const part = parts[rank];
      if (part.rows.at(-1) !== row) part.rows.push(row);
      pairRanks[pair] = rank;
      places[pair] = part.pairRows.length;
      part.pairRows.push(part.rows.length - 1);
      part.pairSlots.push(physical % slots);
    }
  }
  const firsts = exclusiveSums(parts.map((part) => part.pairRows.length));
  for (let pair = 0; pair < places.length; pair++) places[pair] += firsts[pairRanks[pair]];
  return { parts, places };
}

/** Sum of the counts before each. */
export function exclusiveSums(counts: readonly number[]): number[] {
  let sum = 0;
  return counts.map((count) => (sum += count) - count);
}
