/** Messages and their payload bytes, headers not counted. */
export interface Traffic {
  readonly messages: number;
  readonly bytes: number;
}

/** Traffic by destination rank. */
export class TrafficCounter {
  readonly #byRank = new Map<number, { messages: number; bytes: number }>();

  add(rank: number, bytes: number): void {
    const traffic = this.#byRank.get(rank) ?? { messages: 0, bytes: 0 };
    this.#byRank.set(rank, traffic);
    traffic.messages++;
    traffic.bytes += bytes;
  }

  /** A copy of the counts so far; ranks nothing went to are absent. */
  counts(): ReadonlyMap<number, Traffic> {
    return new Map([...this.#byRank].map(([rank, traffic]) => [rank, { ...traffic }]));
  }
}
