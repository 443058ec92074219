/**
 * Lets callers through one on each turn of the event loop. A thousand requests that arrive at once
 * would else be read and checked in one turn, and everybody else would wait for all.
 */
export class Turnstile {
  readonly #waiting: (() => void)[] = [];

  pass(): Promise<void> {
    return new Promise((resolve) => {
      if (this.#waiting.push(resolve) === 1) setImmediate(() => this.#open());
    });
  }

  #open(): void {
    this.#waiting.shift()?.();
    if (this.#waiting.length > 0) setImmediate(() => this.#open());
  }
}
