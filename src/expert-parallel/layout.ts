import { waterfill } from "../balancing/index.ts";
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

const kept = new WeakMap<LayerPlacement, ReplicaChoices>();

/** Where rows find an expert: a replica on each rank that has one. */
export function replicaChoices(placement: LayerPlacement): ReplicaChoices {
  const choices = kept.get(placement) ?? chooseReplicas(placement);
  kept.set(placement, choices);
  return choices;
}

/** Rows that go to an expert of which a rank has two replicas find the first. */
function chooseReplicas({ replicas, slots }: LayerPlacement): ReplicaChoices {
  const rankOf = (place: number) => Math.floor(place / slots);
  const lists = replicas.map((places) =>
    places.filter((place, i) => i === 0 || rankOf(place) !== rankOf(places[i - 1])),
  );
  const ends = exclusiveSums([...lists.map((places) => places.length), 0]);
  return { starts: Int32Array.from(ends), places: Int32Array.from(lists.flat()) };
}

/** For each (row, choice) its replica: those of an expert take its rows one after the other. */
function chosenPlaces(
  ids: Int32Array,
  { ranks, slots, ...placement }: LayerPlacement,
  { starts, places }: ReplicaChoices,
  ownRank: number,
): Int32Array {
  const pairs = placement.replicas.map(() => 0);
  for (const id of ids) pairs[id]++;
  const placesOf = pairs.map((_, expert) => [
    ...places.subarray(starts[expert], starts[expert + 1]),
  ]);
  const ranksOf = placesOf.map((held) => held.map((place) => Math.floor(place / slots)));
  // The choice moves work, never bits.
  const left = waterfill({ pairs, ranksOf, ranks, turn: ownRank });
  return ids.map((id) => {
    const replica = left[id].findIndex((share) => share > 0);
    left[id][replica]--;
    return placesOf[id][replica];
  });
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
  const chosen = ids.subarray(0, rows * topK);
  const physical = chosenPlaces(chosen, placement, replicaChoices(placement), ownRank);
  const parts = Array.from({ length: ranks }, () => ({
    rows: [] as number[],
    pairRows: [] as number[],
    pairSlots: [] as number[],
  }));
  const pairRanks = new Int32Array(rows * topK);
  const places = new Int32Array(rows * topK);
  for (let row = 0; row < rows; row++) {
    for (let pair = row * topK; pair < (row + 1) * topK; pair++) {
      const rank = Math.floor(physical[pair] / slots);
      const part = parts[rank];
      if (part.rows.at(-1) !== row) part.rows.push(row);
      pairRanks[pair] = rank;
      places[pair] = part.pairRows.length;
      part.pairRows.push(part.rows.length - 1);
      part.pairSlots.push(physical[pair] % slots);
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
