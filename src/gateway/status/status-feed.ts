const PERIOD_MS = 1000;

type Viewer = ReadableStreamDefaultController<Uint8Array>;

/**
 * One snapshot a second for all viewers, as server-sent events; nothing is read while nobody
 * watches. A viewer that has not taken its last snapshot misses the next, so it holds back nobody.
 */
export class StatusFeed {
  readonly #read: () => Promise<object>;
  readonly #viewers = new Set<Viewer>();
  readonly #encoder = new TextEncoder();
  #timer: NodeJS.Timeout | undefined;
  #reading: Promise<object> | undefined;
  #latest: Uint8Array | undefined;

  constructor(read: () => Promise<object>) {
    this.#read = read;
  }

  /** Now; those who ask at the same time share a snapshot. */
  snapshot(): Promise<object> {
    this.#reading ??= this.#read().finally(() => (this.#reading = undefined));
    return this.#reading;
  }

  events(): ReadableStream<Uint8Array> {
    let viewer: Viewer;
    return new ReadableStream<Uint8Array>({
      start: (controller) => {
        viewer = controller;
        this.#enter(viewer);
      },
      cancel: () => this.#leave(viewer),
    });
  }

  /** Ends every viewer's stream. */
  close(): void {
    for (const viewer of this.#viewers) viewer.close();
    this.#viewers.clear();
    this.#stop();
  }

  #enter(viewer: Viewer): void {
    this.#viewers.add(viewer);
    if (this.#latest) viewer.enqueue(this.#latest);
    if (this.#timer) return;
    this.#timer = setInterval(() => void this.#tell(), PERIOD_MS).unref();
    void this.#tell();
  }

  #leave(viewer: Viewer): void {
    this.#viewers.delete(viewer);
    if (this.#viewers.size === 0) this.#stop();
  }

  #fail(error: unknown): undefined {
    for (const viewer of this.#viewers) viewer.error(error);
    this.#viewers.clear();
    this.#stop();
  }

  #stop(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
    this.#latest = undefined;
  }

  /** A reading that takes longer than a period is waited for, not doubled. */
  async #tell(): Promise<void> {
    if (this.#reading) return;
    const snapshot = await this.snapshot().catch((error: unknown) => this.#fail(error));
    if (!snapshot || this.#viewers.size === 0) return;
    this.#latest = this.#encoder.encode(`data: ${JSON.stringify(snapshot)}\n\n`);
    for (const viewer of this.#viewers) {
      if ((viewer.desiredSize ?? 0) > 0) viewer.enqueue(this.#latest);
    }
  }
}
