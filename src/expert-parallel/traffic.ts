import type { ExchangeCounts } from "../kernels/index.ts";

/** Rows and bytes that a rank has sent, and experts that its rows chose, since the rank started. */
export interface TrafficCounts {
  /** Rows dispatched to each rank of the unit, its own rows that stay at home included. */
  readonly rowsTo: readonly number[];
  /** Rows sent to each rank, for itself or to be passed on to others of its node. */
  readonly rowsSent: readonly number[];
  /** Bytes dispatched to, and expert rows returned to, each other rank. */
  readonly bytesTo: readonly number[];
  /** How often each logical expert was chosen, by MoE layer. [layers][experts] */
  readonly expertLoads: readonly (readonly number[])[];
}

/** Counts of dispatch and combine for the statistics and for the expert balancer. */
export class Traffic {
  readonly #rowsTo: Float64Array;
  /** As messages; ranks of one process read each other's. */
  readonly rowsSent: Float64Array;
  readonly #bytesTo: Float64Array;
  /** By layer; dense layers have no counts. */
  readonly #loads = new Map<number, Float64Array>();
  readonly #experts: number;
  /** Milliseconds in which rows of other ranks were waited for. */
  waitedMs = 0;

  constructor(ranks: number, experts: number) {
    this.#rowsTo = new Float64Array(ranks);
    this.rowsSent = new Float64Array(ranks);
    this.#bytesTo = new Float64Array(ranks);
    this.#experts = experts;
  }

  /** What an exchange in a layer adds to. */
  countsOf(layer: number): ExchangeCounts {
    let loads = this.#loads.get(layer);
    if (!loads) {
      loads = new Float64Array(this.#experts);
      this.#loads.set(layer, loads);
    }
    return { loads, rowsTo: this.#rowsTo, bytesTo: this.#bytesTo };
  }

  counts(): TrafficCounts {
    const layers = [...this.#loads].sort(([a], [b]) => a - b);
    return {
      rowsTo: [...this.#rowsTo],
      rowsSent: [...this.rowsSent],
      bytesTo: [...this.#bytesTo],
      expertLoads: layers.map(([, loads]) => [...loads]),
    };
  }
}
