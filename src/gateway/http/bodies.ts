import { ApiError, ClientGone } from "../errors.ts";
import type { ClientLimits } from "./client-limits.ts";
import type { RefusalReason } from "./refusals.ts";

type BodyLimits = Pick<ClientLimits, "bodyBytes" | "allBodiesBytes" | "bodyMs">;

/** A body of so many bytes is read whole, without the cost of a stream. */
const SMALL_BYTES = 64 * 2 ** 10;

/** The bodies of all requests that are being read: how much of them is held is bounded. */
export class Bodies {
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
   * What `use` makes of a body's bytes, which count as held until then.
   * @throws ApiError 413 for a body that is too large, 408 for a late one, 503 when there is no room
   * for more; ClientGone when the client has left.
   */
  async hold<T>(request: Request, use: (bytes: Uint8Array) => T | Promise<T>): Promise<T> {
    const held: Held = { bytes: 0, isOver: false };
    try {
      return await use(await this.#inTime(this.#read(request, held)));
    } finally {
      this.#heldBytes -= held.bytes;
      held.isOver = true;
    }
  }

  async #inTime<T>(reading: Promise<T>): Promise<T> {
    const { bodyMs } = this.#limits;
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(() => {
        this.#refused("body_late");
        reject(refusal(408, "body_late", `the body has not come within ${bodyMs / 1000} s`));
      }, bodyMs);
    });
    try {
      return await Promise.race([reading, late]);
    } finally {
      clearTimeout(timer);
    }
  }
  async #read(request: Request, held: Held): Promise<Uint8Array> {
    const stated = request.headers.get("content-length");
    const size = Number(stated ?? 0);
    if (size > this.#limits.bodyBytes) throw this.#tooLarge();
    try {
      if (stated === null || size > SMALL_BYTES) return await this.#readPieces(request, held);
      this.#take(held, size);
      return new Uint8Array(await request.arrayBuffer());
    } catch (error) {
      throw error instanceof ApiError ? error : new ClientGone();
    }
  }

  async #readPieces(request: Request, held: Held): Promise<Uint8Array> {
    const pieces: Uint8Array[] = [];
    for await (const piece of request.body ?? []) {
      this.#take(held, piece.byteLength);
      if (held.bytes > this.#limits.bodyBytes) throw this.#tooLarge();
      pieces.push(piece);
    }
    return Buffer.concat(pieces, held.bytes);
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
