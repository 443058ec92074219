import type { LedgerRecord, Topology } from "./ledger-record.ts";

/** How long nodes of each role have served, in node-milliseconds. */
export interface NodeTime {
  /** `combined` nodes do both and are in neither of the others. */
  readonly prefill: number;
  readonly decode: number;
  readonly combined: number;
  /** Whole milliseconds of single accelerators. */
  readonly accelerators: number;
}

/**
 * Integrates node counts over a period. Nodes are known to serve until the last record that their
 * server wrote: after a crash the time to the next `start` does not count.
 */
export class FleetTime {
  readonly #since: number;
  readonly #until: number;
  readonly #sums = { prefill: 0, decode: 0, combined: 0, accelerators: 0 };
  #topology: Topology | undefined;
  #seen = -Infinity;

  /** Milliseconds since 1970; the period ends before `until`. */
  constructor(since: number, until: number) {
    this.#since = since;
    this.#until = until;
  }

  get nodeTime(): NodeTime {
    // A node may have a share of them: 29 on 7 nodes.
    return { ...this.#sums, accelerators: Math.round(this.#sums.accelerators) };
  }

  /** Takes the ledger's records in order. */
  add(record: LedgerRecord): void {
    const starts = record.kind === "topology" && record.event === "start";
    if (this.#topology && !starts) this.#advance(this.#topology, record.time);
    this.#seen = Math.max(this.#seen, record.time);
    if (record.kind === "topology") {
      this.#topology = record.event === "stop" ? undefined : record;
    }
  }

  #advance(topology: Topology, time: number): void {
    const { prefillNodes, decodeNodes, combinedNodes, acceleratorsPerNode } = topology;
    const begin = Math.max(this.#seen, this.#since);
    const elapsed = Math.max(0, Math.min(time, this.#until) - begin);
    this.#sums.prefill += prefillNodes * elapsed;
    this.#sums.decode += decodeNodes * elapsed;
    this.#sums.combined += combinedNodes * elapsed;
    const nodes = prefillNodes + decodeNodes + combinedNodes;
    this.#sums.accelerators += nodes * acceleratorsPerNode * elapsed;
  }
}
