import type { Topology } from "../cluster/index.ts";
import type { TrafficCounts } from "./traffic.ts";

/** Rows that dispatch sent, of a whole cluster. */
export interface DispatchedRows {
  /** By rank of the cluster: rows to each rank of its unit, its own included. */
  readonly ranks: readonly (readonly number[])[];
  /** From each node to each other one, where a row may go once for some ranks. */
  readonly links: readonly { readonly from: number; readonly to: number; readonly rows: number }[];
}

/** Adds up the ranks' counts; ranks of units that share no experts have counted nothing. */
export function dispatchedRows(
  { units }: Topology,
  nodeOfRank: readonly number[],
  traffic: readonly (TrafficCounts | undefined)[],
): DispatchedRows {
  const links = new Map<string, { from: number; to: number; rows: number }>();
  for (const { ranks } of units) {
    for (const rank of ranks) {
      for (const [index, rows] of (traffic[rank]?.rowsSent ?? []).entries()) {
        const from = nodeOfRank[rank];
        const to = nodeOfRank[ranks[index]];
        if (from === to) continue;
        const link = links.get(`${from} ${to}`) ?? { from, to, rows: 0 };
        links.set(`${from} ${to}`, link);
        link.rows += rows;
      }
    }
  }
  return {
    ranks: traffic.map((counts) => counts?.rowsTo ?? []),
    links: [...links.values()].sort((a, b) => a.from - b.from || a.to - b.to),
  };
}
