import { dispatchLayout, type LayerPlacement } from "../../expert-parallel/index.ts";

/** Which experts each row chose, one layer after another. [layers][rows × topK], ascending in a row */
export type Routing = readonly Int32Array[];

export interface DispatchSetting {
  readonly topK: number;
  readonly placement: LayerPlacement;
  /** Node of each rank. */
  readonly nodeOfRank: readonly number[];
  /** Bytes of a row as it is dispatched, and as it comes back. */
  readonly dispatchBytes: number;
  readonly combineBytes: number;
}

export interface DispatchTraffic {
  /** Rows that each rank's experts get, its own included; a row counts once for each rank. */
  readonly rowsInto: readonly number[];
  /** (row, expert) pairs that each rank computes. */
  readonly pairsInto: readonly number[];
  /**
   * Rows and bytes, both ways, that leave their rank, and that leave their node: straight to each rank, or each
   * row once to a node.
   */
  readonly offRank: { readonly rows: number; readonly bytes: number };
  readonly offNode: { readonly rows: number; readonly bytes: number };
  readonly onceOffNode: { readonly rows: number; readonly bytes: number };
}

/** What recorded routing sends between ranks, its rows spread evenly over them (DeepEP's layout). */
export function dispatchTraffic(routing: Routing, setting: DispatchSetting): DispatchTraffic {
  const { topK, placement, nodeOfRank, dispatchBytes, combineBytes } = setting;
  const { ranks } = placement;
  const rowsInto = Array.from({ length: ranks }, () => 0);
  const pairsInto = Array.from({ length: ranks }, () => 0);
  const offRank = { rows: 0, bytes: 0 };
  const offNode = { rows: 0, bytes: 0 };
  const onceOffNode = { rows: 0, bytes: 0 };
  for (const ids of routing) {
    const rows = ids.length / topK;
    for (let home = 0; home < ranks; home++) {
      const from = Math.floor((rows * home) / ranks);
      const to = Math.floor((rows * (home + 1)) / ranks);
      const own = ids.subarray(from * topK, to * topK);
      const { parts } = dispatchLayout(own, to - from, topK, placement, home);
      const rowsFor = new Map<number, Set<number>>();
      for (const [rank, part] of parts.entries()) {
        const node = nodeOfRank[rank];
        if (node !== nodeOfRank[home]) {
          const chosen = rowsFor.get(node) ?? new Set();
          rowsFor.set(node, chosen);
          for (const row of Array.from(part.rows)) chosen.add(row);
          onceOffNode.bytes += part.pairRows.length * combineBytes;
        }
        rowsInto[rank] += part.rows.length;
        pairsInto[rank] += part.pairRows.length;
        const bytes = part.rows.length * dispatchBytes + part.pairRows.length * combineBytes;
        for (const [crossed, count] of [
          [rank !== home, offRank],
          [nodeOfRank[rank] !== nodeOfRank[home], offNode],
        ] as const) {
          if (!crossed) continue;
          count.rows += part.rows.length;
          count.bytes += bytes;
        }
      }
      for (const { size } of rowsFor.values()) {
        onceOffNode.rows += size;
        onceOffNode.bytes += size * dispatchBytes;
      }
    }
  }
  return { rowsInto, pairsInto, offRank, offNode, onceOffNode };
}
