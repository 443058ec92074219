import { waterfill } from "../balancing/index.ts";
import type { ReplicaChoices } from "../kernels/index.ts";
import type { LayerPlacement } from "./placement.ts";
import type { DispatchPart } from "./wire.ts";

/** Which rows go where (DeepEP's dispatch layout). */
export interface DispatchLayout {
  /** By destination rank. */
  readonly parts: readonly DispatchPart[];
  /** Where the output of (row, choice) lies once all parts' outputs stand in rank order. */
  readonly places: Int32Array;
}

/** Where rows find the experts of a placement: a replica on each rank that has one. */
interface Found {
  readonly choices: ReplicaChoices;
  /** By expert: those replicas, and their ranks. */
  readonly placesOf: readonly (readonly number[])[];
  readonly ranksOf: readonly (readonly number[])[];
}

const kept = new WeakMap<LayerPlacement, Found>();

/** Where rows find an expert: a replica on each rank that has one. */
export const replicaChoices = (placement: LayerPlacement): ReplicaChoices =>
  findIn(placement).choices;

function findIn(placement: LayerPlacement): Found {
  const found = kept.get(placement) ?? chooseReplicas(placement);
  kept.set(placement, found);
  return found;
}

/** Rows that go to an expert of which a rank has two replicas find the first. */
function chooseReplicas({ replicas, slots }: LayerPlacement): Found {
  const rankOf = (place: number) => Math.floor(place / slots);
  const placesOf = replicas.map((places) =>
    places.filter((place, i) => i === 0 || rankOf(place) !== rankOf(places[i - 1])),
  );
  const ends = exclusiveSums([...placesOf.map((places) => places.length), 0]);
  const choices = { starts: Int32Array.from(ends), places: Int32Array.from(placesOf.flat()) };
  return { choices, placesOf, ranksOf: placesOf.map((places) => places.map(rankOf)) };
}

/** For each (row, choice) its replica: those of an expert take its rows one after the other. */
function chosenPlaces(ids: Int32Array, placement: LayerPlacement, ownRank: number): Int32Array {
  const { choices, placesOf, ranksOf } = findIn(placement);
  // Each expert lies on one rank.
  if (choices.places.length === placesOf.length) return ids.map((id) => choices.places[id]);
  const pairs = placesOf.map(() => 0);
  for (const id of ids) pairs[id]++;
  // The choice moves work, never bits.
  const left = waterfill({ pairs, ranksOf, ranks: placement.ranks, turn: ownRank });
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
  const physical = chosenPlaces(chosen, placement, ownRank);
  const starts = startsOf(physical, ranks * slots);
  const parts = Array.from({ length: ranks }, (_, rank) => {
    const pairs = starts[(rank + 1) * slots] - starts[rank * slots];
    const [pairRows, pairSlots] = [new Int32Array(pairs), new Int32Array(pairs)];
    return { rows: [] as number[], pairRows, pairSlots };
  });
  const next = starts.slice();
  const places = new Int32Array(rows * topK);
  for (let row = 0; row < rows; row++) {
    for (let pair = row * topK; pair < (row + 1) * topK; pair++) {
      const place = next[physical[pair]]++;
      const rank = Math.floor(physical[pair] / slots);
      const part = parts[rank];
      if (part.rows.at(-1) !== row) part.rows.push(row);
      const at = place - starts[rank * slots];
      part.pairRows[at] = part.rows.length - 1;
      part.pairSlots[at] = physical[pair] % slots;
      places[pair] = place;
    }
  }
  return { parts, places };
}

/** Where the pairs of each physical expert begin once they are sorted. [experts + 1] */
function startsOf(physical: Int32Array, experts: number): Int32Array {
  const starts = new Int32Array(experts + 1);
  for (const expert of physical) starts[expert + 1]++;
  for (let expert = 0; expert < experts; expert++) starts[expert + 1] += starts[expert];
  return starts;
}

/** Sum of the counts before each. */
export function exclusiveSums(counts: readonly number[]): number[] {
  let sum = 0;
  return counts.map((count) => (sum += count) - count);
}
