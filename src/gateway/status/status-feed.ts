const PERIOD_MS = 1000;
/** Ticks go on for so long after somebody has asked, so that whoever polls is told rates. */
const TICKS_AFTER_QUESTION = 10;

type Viewer = ReadableStreamDefaultController<Uint8Array>;

/** What a feed tells: rates are since the last tick, and reading is no tick. */
export interface FeedSource {
  read(): Promise<object>;
  tick(): Promise<object>;
}

/**
 * One snapshot a second for all viewers, as server-sent events; nothing is read while nobody
 * watches or asks. A viewer that has not taken its last snapshot misses the next, so it holds back nobody.
 */
export class StatusFeed {
  readonly #source: FeedSource;
  readonly #viewers = new Set<Viewer>();
  readonly #encoder = new TextEncoder();
  #timer: NodeJS.Timeout | undefined;
  #reading: Promise<object> | undefined;
  #isTicking = false;
  #ticksLeft = 0;
  #latest: Uint8Array | undefined;

  constructor(source: FeedSource) {
    this.#source = source;
  }

  /** Now; those who ask at the same time share a snapshot. */
  snapshot(): Promise<object> {
    this.#ticksLeft = TICKS_AFTER_QUESTION;
    const isFirst = !this.#timer;
    this.#start();
    this.#reading ??= (isFirst ? this.#source.tick() : this.#source.read()).finally(
      () => (this.#reading = undefined),
    );
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
    this.#start();
    void this.#tell();
  }

  #leave(viewer: Viewer): void {
    this.#viewers.delete(viewer);
    this.#stopUnwatched();
  }

  #start(): void {
    this.#timer ??= setInterval(() => void this.#tell(), PERIOD_MS).unref();
  }

  #stopUnwatched(): void {
    if (this.#viewers.size === 0 && this.#ticksLeft <= 0) this.#stop();
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
    if (this.#isTicking) return;
    this.#isTicking = true;
    this.#ticksLeft--;
    const snapshot = await this.#source.tick().catch((error: unknown) => this.#fail(error));
    this.#isTicking = false;
    this.#stopUnwatched();
    if (!snapshot || !this.#timer) return;
    this.#latest = this.#encoder.encode(`data: ${JSON.stringify(snapshot)}\n\n`);
    for (const viewer of this.#viewers) {
      if ((viewer.desiredSize ?? 0) > 0) viewer.enqueue(this.#latest);
    }
  }
}
