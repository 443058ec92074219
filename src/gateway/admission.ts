import { ApiError, queueFull } from "./errors.ts";

/** A request that has been let in; released when its answer is complete or its client gone. */
export interface Ticket {
  /** Aborted when the client leaves, or when a drain's deadline has passed. */
  readonly signal: AbortSignal;
  /** One of the request's sequences has left the queue. */
  started(): void;
  /** One of those that have started has its first token. */
  decoding(): void;
  /** Also frees what the request still holds; may be called again. */
  release(): void;
}

/** Sequences inside: all of them, or those of one model. */
export class Load {
  waiting = 0;
  running = 0;
  /** Of those running, the ones that have a token. */
  decoding = 0;
}

/** Whoever comes while the server shuts down may ask the next one, on another connection. */
export const drainingHeaders = { "retry-after": "10", connection: "close" };

const shuttingDown = () =>
  new ApiError(503, "shutting_down", "the server is shutting down", { headers: drainingHeaders });

/** The door: bounds the queue, knows who is inside, and closes for a drain. */
export class Admission {
  readonly #queueLimit: number;
  readonly #inside = new Map<Ticket, AbortController>();
  readonly #load = new Load();
  #draining = false;
  #emptied: (() => void) | undefined;

  /** `queueLimit`: sequences that may wait for their first computation. */
  constructor(queueLimit: number) {
    this.#queueLimit = queueLimit;
  }

  /** Of all models together. */
  get load(): Readonly<Load> {
    return this.#load;
  }

  get draining(): boolean {
    return this.#draining;
  }

  /** @throws ApiError 503 while draining, 429 when the queue has no room for `sequences` more. */
  assertRoom(sequences: number): void {
    if (this.#draining) {
      throw shuttingDown();
    }
    const { waiting } = this.#load;
    if (waiting + sequences > this.#queueLimit) {
      throw queueFull(`${waiting} sequences are waiting, expected at most ${this.#queueLimit}`);
    }
  }

  /**
   * `model`: what the model has, which counts the sequences too.
   * @throws as `assertRoom`.
   */
  admit(sequences: number, client: AbortSignal, model: Load): Ticket {
    this.assertRoom(sequences);
    const abort = new AbortController();
    const own = new Load();
    const count = (kind: keyof Load, more: number) => {
      for (const load of [own, model, this.#load]) load[kind] += more;
    };
    count("waiting", sequences);
    const ticket: Ticket = {
      signal: AbortSignal.any([client, abort.signal]),
      started: () => {
        if (own.waiting === 0) return;
        count("waiting", -1);
        count("running", 1);
      },
      decoding: () => {
        if (own.decoding === own.running || !this.#inside.has(ticket)) return;
        count("decoding", 1);
      },
      release: () => {
        if (!this.#inside.delete(ticket)) return;
        abort.abort();
        for (const kind of ["waiting", "running", "decoding"] as const) count(kind, -own[kind]);
        if (this.#inside.size === 0) this.#emptied?.();
      },
    };
    this.#inside.set(ticket, abort);
    return ticket;
  }

  /** Lets nobody in any more; resolves when all have left, or at `deadlineMs` with all aborted. */
  async drain(deadlineMs: number): Promise<void> {
    this.#draining = true;
    if (this.#inside.size === 0) return;
    await new Promise<void>((resolve) => {
      const deadline = setTimeout(() => {
        for (const abort of this.#inside.values()) abort.abort(shuttingDown());
        resolve();
      }, deadlineMs);
      this.#emptied = () => {
        clearTimeout(deadline);
        resolve();
      };
    });
  }
}
