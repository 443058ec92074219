import { PeerLostError } from "../../cluster/index.ts";

/**
 * So many steps in a row do not fail by chance. A rank that stayed would be empty, and so draw the
 * requests that others could answer.
 */
const MOST_FAILED_STEPS = 8;

/** Tells when a rank whose steps fail can go on no more. */
export class FailedSteps {
  readonly #sharesExperts: boolean;
  #inARow = 0;

  constructor(sharesExperts: boolean) {
    this.#sharesExperts = sharesExperts;
  }

  /** A step has not failed. */
  forget(): void {
    this.#inARow = 0;
  }

  /** @throws where this failure is the rank's end; the loss of another rank stays what it is */
  count(cause: Error): void {
    this.#inARow++;
    const { message } = cause;
    if (cause instanceof PeerLostError) throw cause;
    // The other ranks of a unit would wait for this one's rows for ever.
    if (this.#sharesExperts) throw new Error(`a step failed: ${message}`, { cause });
    if (this.#inARow === MOST_FAILED_STEPS) {
      const last = `${MOST_FAILED_STEPS} steps failed in a row, the last: ${message}`;
      throw new Error(last, { cause });
    }
  }
}
