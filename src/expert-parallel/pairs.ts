import type { SortedRows } from "../kernels/index.ts";
import type { SlotRange } from "./row-exchange.ts";
import type { DispatchPart } from "./wire.ts";

/** All ranks' pairs sorted by expert, by rank inside one, and in order of arrival inside a rank's. */
export class GroupedPairs implements SortedRows {
  readonly starts: Int32Array;
  readonly sources: Int32Array;
  readonly #ranks: number;
  /** Where each rank's pairs of an expert end. [slots, ranks] */
  readonly #ends: Int32Array;

  /** A counting sort. @param firstRows where each rank's rows begin */
  constructor(
    received: readonly Pick<DispatchPart, "pairRows" | "pairSlots">[],
    firstRows: readonly number[],
    slots: number,
  ) {
    const ranks = received.length;
    this.#ranks = ranks;
    const counts = new Int32Array(slots * ranks);
    for (const [rank, { pairSlots }] of received.entries()) {
      for (let i = 0; i < pairSlots.length; i++) counts[pairSlots[i] * ranks + rank]++;
    }
    let pairs = 0;
    const next = counts.map((count) => (pairs += count) - count);
    this.starts = Int32Array.from({ length: slots + 1 }, (_, slot) => next[slot * ranks] ?? pairs);
    this.sources = new Int32Array(pairs);
    for (const [rank, { pairRows, pairSlots }] of received.entries()) {
      for (let i = 0; i < pairSlots.length; i++) {
        this.sources[next[pairSlots[i] * ranks + rank]++] = firstRows[rank] + pairRows[i];
      }
    }
    this.#ends = next;
  }

  /** A rank's pairs of some slots: places that follow each other, slot by slot. */
  *rangesOf(
    rank: number,
    { first, end }: SlotRange,
  ): Generator<readonly [from: number, to: number]> {
    for (let slot = first; slot < end; slot++) {
      const at = slot * this.#ranks + rank;
      const from = at === 0 ? 0 : this.#ends[at - 1];
      if (from < this.#ends[at]) yield [from, this.#ends[at]];
    }
  }
}
