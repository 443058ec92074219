import type { AddonStream, NativeAddon } from "../native-addon.ts";
import { CommandRing, type Operation } from "./command-ring.ts";
import type { MappedWeights } from "./mapped-weights.ts";
import { Waiters } from "./waiters.ts";

export interface CommandStreamOptions {
  readonly addon: NativeAddon;
  readonly weights: MappedWeights;
  /** An instruction set's, or its faster ones for single rows. */
  readonly kernels: string;
  readonly threads: number;
  readonly cores: number;
  /** Operations wait for a fence, which computes short work on its caller's thread. */
  readonly atFence: boolean;
}

/** Streams with commands to run: what these point to must not be collected before them. */
const busy = new Set<CommandStream>();

/** Commands that threads of the addon run in order, and the fences that wait for them. */
export class CommandStream {
  /** Threads it got, which may be fewer than wanted. */
  readonly threads: number;
  readonly #ring: CommandRing;
  readonly #native: AddonStream;
  readonly #waiters: Waiters;
  /** Why it fails, where no operation did. */
  #given: Error | undefined;
  #closed = false;
  #resets = 0;

  constructor({ addon, weights, kernels, threads, cores, atFence }: CommandStreamOptions) {
    this.#ring = new CommandRing(addon);
    // The addon holds the callback. The callback must not hold the stream, or it is never collected.
    const self = new WeakRef(this);
    const { header, words } = this.#ring;
    this.#native = new addon.Stream({
      ...{ header, words, threads, cores, atFence, instructionSet: kernels },
      files: weights.files,
      onExecuted: () => {
        const stream = self.deref();
        if (stream && !stream.#closed) stream.#waiters.settleReached();
      },
    });
    this.threads = this.#native.threads;
    this.#waiters = new Waiters(this.#ring, this.#native);
  }

  async fence(): Promise<void> {
    const target = this.#ring.published;
    const resets = this.#resets;
    if (!this.#closed) await this.#waiters.executed(target);
    if (this.#closed) throw new Error("the stream is closed");
    if (this.#ring.reached(this.#ring.published)) {
      this.#ring.letGoOfAll();
      busy.delete(this);
    }
    const { failure } = this.#native;
    if (failure) throw failure === this.#given?.message ? this.#given : new Error(failure);
    if (this.#resets !== resets) throw new Error("the stream was reset before all had run");
  }

  fail(error: Error): void {
    if (this.#closed) return;
    this.#given ??= error;
    this.#native.fail(this.#given.message);
  }

  reset(): void {
    if (this.#closed) return;
    this.#given = undefined;
    this.#resets++;
    this.#native.reset();
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#native.close();
    busy.delete(this);
    this.#waiters.letGo();
  }

  /** Begins a command; its arguments are written to the ring. */
  protected begin(operation: Operation): CommandRing {
    if (this.#closed) throw new Error("the stream is closed");
    busy.add(this);
    this.#ring.begin(operation, this.#native);
    return this.#ring;
  }

  protected end(): void {
    this.#ring.publish(this.#native);
  }
}
