import { channels, type Transport } from "../../cluster/index.ts";

/**
 * Keeps the ranks of a unit in step, as expert parallelism needs: whoever has rows calls a step by
 * telling its row count and the newest placement it knows, and the others join it, with no rows if
 * they have none.
 */
export class UnitClock {
  readonly #transport: Transport;
  readonly #others: readonly number[];
  #known = 0;
  #version = 0;
  #rows = 0;

  constructor(transport: Transport, ranks: readonly number[]) {
    this.#transport = transport;
    this.#others = ranks.filter((rank) => rank !== transport.rank);
  }

  /** The placement of the step last joined: the newest that all ranks then knew. */
  get version(): number {
    return this.#version;
  }

  /** Rows of the step last joined, of all ranks together. */
  get rows(): number {
    return this.#rows;
  }

  /** Takes note that this rank knows a placement; versions ascend. */
  learn(version: number): void {
    this.#known = version;
  }

  /** Resolves when another rank has called a step that this one has not joined, or on abort. */
  called(signal: AbortSignal): Promise<void> {
    return this.#transport.arrival(channels.step, signal);
  }

  /** Joins a step; its rows, which are the same number on each rank. */
  async join(rows: number): Promise<number> {
    const own = Int32Array.of(rows, this.#known);
    const told = Uint8Array.from(new Uint8Array(own.buffer));
    const others = await Promise.all(
      this.#others.map(async (rank) => {
        const [message] = await Promise.all([
          this.#transport.receive(rank, channels.step, "soon"),
          this.#transport.send(rank, channels.step, told),
        ]);
        return new Int32Array(message.slice().buffer);
      }),
    );
    const all = [own, ...others];
    this.#version = Math.min(...all.map(([, version]) => version));
    this.#rows = all.reduce((sum, [count]) => sum + count, 0);
    return this.#rows;
  }
}
