import { inTime, systemClock } from "../../cluster/index.ts";
import { ApiError, ClientGone } from "../errors.ts";
import type { ClientLimits } from "./client-limits.ts";
import type { RefusalReason } from "./refusals.ts";
import { Turnstile } from "./turnstile.ts";

type BodyLimits = Pick<ClientLimits, "bodyBytes" | "allBodiesBytes" | "bodyMs">;

/** A request's head, and its body piece by piece as it comes. */
export interface IncomingBody {
  readonly headers: Headers;
  readonly pieces: AsyncIterable<Uint8Array>;
}

/** What a socket gives at once, and what most bodies need. */
const PIECE_BYTES = 64 * 2 ** 10;

/**
 * The bodies of all requests that are being read: how much of them is held is bounded, and how much of
 * them is copied or checked in one turn of the event loop.
 */
export class Bodies {
  readonly #turnstile = new Turnstile();
  readonly #limits: BodyLimits;
  readonly #refused: (reason: RefusalReason) => void;
  #heldBytes = 0;

  /** `refused` hears of a body that was refused for what all of them hold, or for being late. */
  constructor(limits: BodyLimits, refused: (reason: RefusalReason) => void = () => undefined) {
    this.#limits = limits;
    this.#refused = refused;
  }

  get heldBytes(): number {
    return this.#heldBytes;
  }

  /**
   * What `use` makes of a body's bytes, which count as held until then. It is called on a turn of the
   * event loop of its own.
   * @throws ApiError 413 for a body that is too large, 408 for a late one, 503 when there is no room
   * for more; ClientGone when the client has left.
   */
  async hold<T>(body: IncomingBody, use: (bytes: Uint8Array) => T | Promise<T>): Promise<T> {
    const held: Held = { bytes: 0, isOver: false };
    try {
      const bytes = await inTime(this.#read(body, held), systemClock, this.#limits.bodyMs, () => {
        this.#refused("body_late");
        const limit = `${this.#limits.bodyMs / 1000} s`;
        return refusal(408, "body_late", `the body has not come within ${limit}`);
      });
      await this.#turnstile.pass();
      return await use(bytes);
    } finally {
      this.#heldBytes -= held.bytes;
      held.isOver = true;
    }
  }

  async #read({ headers, pieces }: IncomingBody, held: Held): Promise<Uint8Array> {
    if (Number(headers.get("content-length") ?? 0) > this.#limits.bodyBytes) throw this.#tooLarge();
    try {
      return await this.#join(pieces, held);
    } catch (error) {
      throw error instanceof ApiError ? error : new ClientGone();
    }
  }

  /** Copies each piece when it comes, and of all bodies at most one further piece on each turn. */
  async #join(pieces: AsyncIterable<Uint8Array>, held: Held): Promise<Uint8Array> {
    let whole: Buffer = Buffer.allocUnsafe(PIECE_BYTES);
    for await (const piece of pieces) {
      const start = held.bytes;
      if (start > 0) await this.#turnstile.pass();
      this.#take(held, piece.byteLength);
      if (held.bytes > this.#limits.bodyBytes) throw this.#tooLarge();
      if (held.bytes > whole.length) whole = grown(whole, held.bytes);
      whole.set(piece, start);
    }
    return whole.subarray(0, held.bytes);
  }

  #take(held: Held, bytes: number): void {
    if (held.isOver) throw new ClientGone();
    const { allBodiesBytes } = this.#limits;
    if (this.#heldBytes + bytes > allBodiesBytes) {
      this.#refused("bodies_full");
      const message = `the bodies being read have ${allBodiesBytes} bytes already; try again`;
      throw refusal(503, "bodies_full", message, { "retry-after": "1" });
    }
    held.bytes += bytes;
    this.#heldBytes += bytes;
  }

  #tooLarge(): ApiError {
    const message = `the body is too large: expected at most ${this.#limits.bodyBytes} bytes`;
    return refusal(413, "body_too_large", message);
  }
}

/** The same bytes with room for `bytes`, doubled so that all copies together are of one body's size. */
function grown(buffer: Buffer, bytes: number): Buffer {
  const larger = Buffer.allocUnsafe(Math.max(bytes, 2 * buffer.length));
  buffer.copy(larger);
  return larger;
}

interface Held {
  bytes: number;
  /** Nobody waits for the body any more. */
  isOver: boolean;
}

/** What is left of the body is not waited for. */
function refusal(
  status: 408 | 413 | 503,
  code: string,
  message: string,
  headers: Readonly<Record<string, string>> = {},
): ApiError {
  return new ApiError(status, code, message, { headers: { ...headers, connection: "close" } });
}
