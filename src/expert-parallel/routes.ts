/** A message of rows that a rank sends, or passes on: to whom, and for which ranks. */
export interface Way {
  readonly to: number;
  readonly ranks: readonly number[];
}

/**
 * How rows get from rank to rank, numbered as in their unit: straight; or once to a node, where the rank in
 * the sender's place passes them on to the others (DeepEP's high-throughput form).
 */
export class Routes {
  /** Of the own rows. */
  readonly ways: readonly Way[];
  /** Ranks whose rows come here from themselves, for this rank and those that it passes them on to. */
  readonly straight: readonly number[];
  /** Ranks that pass others' rows on to this one, once for each message. */
  readonly passing: readonly number[];

  /** `nodes`: of each rank; all different where rows go straight. */
  constructor(nodes: readonly number[], own: number) {
    const others = [...nodes.keys()].filter((rank) => rank !== own);
    const ranksBy = new Map<number, number[]>();
    for (const rank of others) {
      const first = firstOf(nodes, own, rank);
      ranksBy.set(first, [...(ranksBy.get(first) ?? []), rank]);
    }
    this.ways = [...ranksBy].map(([to, ranks]) => ({ to, ranks }));
    const hands = others.map((rank) => ({ rank, by: firstOf(nodes, rank, own) }));
    this.straight = hands.flatMap((hand) => (hand.by === own ? [hand.rank] : []));
    this.passing = hands.flatMap((hand) => (hand.by === own ? [] : [hand.by]));
  }
}

/** The rank of the node of `to` that rows of `from` reach first. */
function firstOf(nodes: readonly number[], from: number, to: number): number {
  if (nodes[from] === nodes[to]) return to;
  const on = (node: number) => [...nodes.keys()].filter((rank) => nodes[rank] === node);
  const there = on(nodes[to]);
  return there[on(nodes[from]).indexOf(from) % there.length];
}
