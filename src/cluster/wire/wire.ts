import type { Clock } from "../clock.ts";

/** What a wire between nodes is like, each way. */
export interface WireRate {
  readonly latencyMs: number;
  /** Of a wire that does not take everything at once. */
  readonly bitsPerSecond?: number | undefined;
}

const latencies = { us: 0.001, ms: 1, s: 1000 } as const;
const rates = { kbps: 1e3, mbps: 1e6, gbps: 1e9 } as const;

/** Reads `200us,10Gbps`; one of the two may be missing. @throws RangeError */
export function parseWire(text: string): WireRate {
  const refuse = () =>
    new RangeError(`expected a latency, a rate or both, such as 200us,10Gbps, got ${text}`);
  let latencyMs: number | undefined;
  let bitsPerSecond: number | undefined;
  for (const part of text.split(",")) {
    const [, digits, unit] = /^\s*(\d+(?:\.\d+)?)\s*([a-z]+)\s*$/i.exec(part) ?? [];
    const name = unit?.toLowerCase() ?? "";
    if (name in latencies && latencyMs === undefined) {
      latencyMs = Number(digits) * latencies[name as keyof typeof latencies];
    } else if (name in rates && bitsPerSecond === undefined && Number(digits) > 0) {
      bitsPerSecond = Number(digits) * rates[name as keyof typeof rates];
    } else throw refuse();
  }
  return { latencyMs: latencyMs ?? 0, bitsPerSecond };
}

/**
 * One direction of an emulated wire. What it carries leaves when all before has left, and arrives the
 * wire's latency later. A late timer delays what it was set for, not the wire's rate.
 */
export class Wire {
  readonly #rate: WireRate;
  readonly #clock: Clock;
  /** When all that was given so far has left. */
  #freeAt = -Infinity;
  /** In the order given, whichever timer is first. */
  readonly #leaving: (() => void)[] = [];
  readonly #arriving: (() => void)[] = [];

  constructor(rate: WireRate, clock: Clock) {
    this.#rate = rate;
    this.#clock = clock;
  }

  carry(bytes: number, told: { readonly left: () => void; readonly arrived: () => void }): void {
    const now = this.#clock.now();
    const { latencyMs, bitsPerSecond = Infinity } = this.#rate;
    this.#freeAt = Math.max(now, this.#freeAt) + (8000 * bytes) / bitsPerSecond;
    const leaves = this.#freeAt - now;
    this.#leaving.push(told.left);
    this.#arriving.push(told.arrived);
    this.#clock.after(leaves, () => this.#leaving.shift()?.());
    this.#clock.after(leaves + latencyMs, () => this.#arriving.shift()?.());
  }
}
