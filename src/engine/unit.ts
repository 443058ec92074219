import type { Transport } from "../cluster/index.ts";

export const STEP_CHANNEL = 0;

/**
 * Keeps the ranks of a unit in step, as expert parallelism needs: whoever has rows calls a step by
 * telling its row count, and the others join it, with no rows if they have none.
 */
export class UnitClock {
  readonly #transport: Transport;
  readonly #others: readonly number[];

  constructor(transport: Transport, ranks: readonly number[]) {
    this.#transport = transport;
    this.#others = ranks.filter((rank) => rank !== transport.rank);
  }

  /** Resolves when another rank has called a step that this one has not joined, or on abort. */
  called(signal: AbortSignal): Promise<void> {
    return this.#transport.arrival(STEP_CHANNEL, signal);
  }

  /** Joins a step; the rows of all ranks together, which is the same number on each of them. */
  async join(rows: number): Promise<number> {
    const told = Uint8Array.from(new Uint8Array(Int32Array.of(rows).buffer));
    const others = await Promise.all(
      this.#others.map(async (rank) => {
        const [message] = await Promise.all([
          this.#transport.receive(rank, STEP_CHANNEL),
          this.#transport.send(rank, STEP_CHANNEL, told),
        ]);
        return new Int32Array(message.slice().buffer)[0];
      }),
    );
    return others.reduce((sum, each) => sum + each, rows);
  }
}
