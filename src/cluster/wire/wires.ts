import { type FineClock, fineClock } from "./fine-clock.ts";
import { Wire, type WireRate } from "./wire.ts";

/** Emulated wires that share a thread for their timers. */
export class Wires {
  readonly #rate: WireRate;
  readonly #clock: FineClock = fineClock();

  constructor(rate: WireRate) {
    this.#rate = rate;
  }

  create(): Wire {
    return new Wire(this.#rate, this.#clock);
  }

  /** What is on a wire never arrives. */
  close(): void {
    this.#clock.close();
  }
}
