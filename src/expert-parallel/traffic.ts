/** Rows and bytes that a rank has sent, and experts that its rows chose, since the rank started. */
export interface TrafficCounts {
  /** Rows dispatched to each rank of the unit, its own rows that stay at home included. */
  readonly rowsTo: readonly number[];
  /** Bytes dispatched to, and expert rows returned to, each other rank. */
  readonly bytesTo: readonly number[];
  /** How often each logical expert was chosen, by MoE layer. [layers][experts] */
  readonly expertLoads: readonly (readonly number[])[];
}

/** Counts dispatch and combine for the statistics and for the expert balancer. */
export class Traffic {
  readonly #rowsTo: number[];
  readonly #bytesTo: number[];
  /** By layer; dense layers have no counts. */
  readonly #loads = new Map<number, number[]>();
  readonly #experts: number;

  constructor(ranks: number, experts: number) {
    this.#rowsTo = Array.from({ length: ranks }, () => 0);
    this.#bytesTo = Array.from({ length: ranks }, () => 0);
    this.#experts = experts;
  }

  countRows(rank: number, rows: number): void {
    this.#rowsTo[rank] += rows;
  }

  countBytes(rank: number, bytes: number): void {
    this.#bytesTo[rank] += bytes;
  }

  countChoices(layer: number, ids: Int32Array): void {
    let loads = this.#loads.get(layer);
    if (!loads) {
      loads = Array.from({ length: this.#experts }, () => 0);
      this.#loads.set(layer, loads);
    }
    for (const id of ids) loads[id]++;
  }

  counts(): TrafficCounts {
    const layers = [...this.#loads].sort(([a], [b]) => a - b);
    return {
      rowsTo: [...this.#rowsTo],
      bytesTo: [...this.#bytesTo],
      expertLoads: layers.map(([, loads]) => [...loads]),
    };
  }
}
