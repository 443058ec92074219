/** Time between two drawings. */
const DRAW_MS = 100;

/** A line on a terminal that says how much of a file is written, and is gone at the end. */
export class WriteProgress {
  readonly #all: number | undefined;
  readonly #began = performance.now();
  #drawn = 0;

  /** `all`: bytes in the end, where they are known before. */
  constructor(all?: number) {
    this.#all = all;
  }

  readonly show = (bytes: number, all = this.#all ?? 0): void => {
    const now = performance.now();
    if (!process.stderr.isTTY || now - this.#drawn < DRAW_MS) return;
    this.#drawn = now;
    const [done, whole] = [bytes, all].map((size) => (size / 1e9).toFixed(1));
    const rate = (bytes / 1000 / (now - this.#began)).toFixed(0);
    process.stderr.write(`\r\x1b[K${done} of ${whole} GB written, ${rate} MB/s`);
  };

  end(): void {
    if (process.stderr.isTTY) process.stderr.write("\r\x1b[K");
  }
}
