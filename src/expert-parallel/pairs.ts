import type { RowGroups } from "../kernels/index.ts";
import type { ReceivedPairs } from "./wire.ts";

/** Sorts all ranks' pairs by expert, in order of arrival inside one (a counting sort). */
export function groupPairs(
  received: readonly ReceivedPairs[],
  firstRows: readonly number[],
  slots: number,
): RowGroups {
  const starts = new Int32Array(slots + 1);
  for (const { pairSlots } of received) {
    for (let i = 0; i < pairSlots.length; i++) starts[pairSlots[i] + 1]++;
  }
  for (let slot = 0; slot < slots; slot++) starts[slot + 1] += starts[slot];
  const next = starts.slice(0, slots);
  const sources = new Int32Array(starts[slots]);
  const places = new Int32Array(starts[slots]);
  let pair = 0;
  for (const [rank, { pairRows, pairSlots }] of received.entries()) {
    for (let i = 0; i < pairSlots.length; i++) {
      const place = next[pairSlots[i]]++;
      sources[place] = firstRows[rank] + pairRows[i];
      places[pair++] = place;
    }
  }
  return { starts, sources, places };
}
