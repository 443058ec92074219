import { createHash } from "node:crypto";

/** Digits of a key's hash that tell keys apart in a ledger. */
const NAME_DIGITS = 12;

/** Who asks: whom requests are billed to, and whose cached prefixes they may share. */
export class Tenant {
  /** In the ledger: nothing of the API key itself. */
  readonly name: string;
  readonly #identity: string;

  /** Without a key everybody is one tenant. */
  constructor(apiKey: string | undefined) {
    const hash = apiKey === undefined ? undefined : createHash("sha256").update(apiKey, "utf16le");
    this.#identity = hash?.digest("hex") ?? "default";
    this.name = hash ? `key-${this.#identity.slice(0, NAME_DIGITS)}` : this.#identity;
  }

  /** Requests of one tenant share prefixes if they have the same salt, or none. */
  prefixes(salt: string | null | undefined): string {
    // No identity has a space.
    return salt === null || salt === undefined ? this.#identity : `${this.#identity} ${salt}`;
  }
}
