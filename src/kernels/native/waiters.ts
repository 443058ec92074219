import type { CommandRing } from "./command-ring.ts";
import type { AddonStream } from "../native-addon.ts";

/** Callers of a stream's `fence`, in the order of the commands they wait for. */
export class Waiters {
  readonly #ring: CommandRing;
  readonly #native: AddonStream;
  readonly #waiters: { readonly target: number; readonly settle: () => void }[] = [];

  constructor(ring: CommandRing, native: AddonStream) {
    this.#ring = ring;
    this.#native = native;
  }

  /** Resolves when the commands before number `target` have run, or all are let go. */
  executed(target: number): Promise<void> | undefined {
    // Whoever waits already has announced an earlier command.
    const isFirst = this.#waiters.length === 0;
    if (isFirst && (this.#ring.reached(target) || this.#native.announce(target))) return undefined;
    return new Promise((settle) => this.#waiters.push({ target, settle }));
  }

  /** To be called when an announced command has run. */
  settleReached(): void {
    while (this.#waiters.length > 0) {
      const [{ target, settle }] = this.#waiters;
      if (!this.#ring.reached(target) && !this.#native.announce(target)) return;
      this.#waiters.shift();
      settle();
    }
  }

  letGo(): void {
    for (const { settle } of this.#waiters.splice(0)) settle();
  }
}
