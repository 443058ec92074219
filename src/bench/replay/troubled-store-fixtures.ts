import type { ManualClock } from "../../cluster/fixtures.ts";
import { MemoryBlobStore, type BlobStore } from "../../kv-cache/index.ts";
import { Draw, type ChaosSchedule } from "./chaos-schedule.ts";

/** Blocks in memory that come late, damaged, or not at all, as a schedule has it. */
export class TroubledStore implements BlobStore {
  readonly key: Uint8Array;
  readonly #inner = new MemoryBlobStore({ maxBytes: 2 ** 20, maxAgeMs: Infinity });
  readonly #draw: Draw;
  readonly #trouble: ChaosSchedule["cache"];
  #clock: ManualClock | undefined;
  #hasBegun = false;

  constructor({ seed, cache }: ChaosSchedule) {
    this.key = this.#inner.key;
    this.#draw = new Draw(seed + 2);
    this.#trouble = cache;
  }

  /** From now on there is trouble. */
  begin(): void {
    this.#hasBegun = true;
  }

  use(clock: ManualClock): void {
    this.#clock = clock;
  }

  async get(name: string, bytes: number, usedAt: number) {
    await this.#delay();
    const content = await this.#inner.get(name, bytes, usedAt);
    if (!this.#isTroubled("damaged") || typeof content === "string") return content;
    const kind = this.#draw.below(4);
    if (kind === 0) return "absent" as const;
    if (kind === 1) throw new Error("the store is broken");
    if (kind === 2) return content;
    const damaged = content.slice();
    damaged[this.#draw.below(damaged.length)] ^= 1 << this.#draw.below(8);
    return damaged;
  }

  async put(name: string, content: Uint8Array, usedAt: number): Promise<void> {
    await this.#delay();
    if (this.#isTroubled("damaged") && this.#draw.chance(0.3)) throw new Error("the store is full");
    await this.#inner.put(name, content, usedAt);
  }

  async touch(name: string, bytes: number, usedAt: number): Promise<boolean> {
    await this.#delay();
    return this.#inner.touch(name, bytes, usedAt);
  }

  async delete(name: string): Promise<void> {
    await this.#inner.delete(name);
  }

  #isTroubled(kind: ChaosSchedule["cache"]): boolean {
    return this.#hasBegun && this.#trouble === kind;
  }

  /** A slow store misses its deadline now and then. */
  async #delay(): Promise<void> {
    const milliseconds = this.#isTroubled("slow") ? this.#draw.below(3000) : this.#draw.below(3);
    await new Promise<void>((resolve) => this.#clock?.after(milliseconds, resolve));
  }
}
