/** Writes that wait for a disk, at most so many bytes of them, a few at a time. */
export class WriteQueue {
  readonly #maxBytes: number;
  readonly #concurrency: number;
  readonly #waiting: (() => Promise<void>)[] = [];
  #bytes = 0;
  #active = 0;
  #whenEmpty: (() => void)[] = [];

  constructor({ maxBytes, concurrency }: { maxBytes: number; concurrency: number }) {
    this.#maxBytes = maxBytes;
    this.#concurrency = concurrency;
  }

  /** Whether so many more bytes may wait; an empty queue takes one write of any size. */
  hasRoom(bytes: number): boolean {
    return this.#bytes === 0 || this.#bytes + bytes <= this.#maxBytes;
  }

  /** `write` holds `bytes` of memory until it settles, and must not reject. */
  add(bytes: number, write: () => Promise<void>): void {
    this.#bytes += bytes;
    this.#waiting.push(() => write().finally(() => (this.#bytes -= bytes)));
    this.#startNext();
  }

  /** Resolves when nothing waits or is being written. */
  async drained(): Promise<void> {
    if (this.#active > 0) await new Promise<void>((resolve) => this.#whenEmpty.push(resolve));
  }

  #startNext(): void {
    if (this.#active === this.#concurrency) return;
    const write = this.#waiting.shift();
    if (!write) return;
    this.#active++;
    void write().finally(() => {
      this.#active--;
      this.#startNext();
      if (this.#active === 0) for (const resolve of this.#whenEmpty.splice(0)) resolve();
    });
  }
}
