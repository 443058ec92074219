import { createHash } from "node:crypto";

/** Digits of a key's hash that tell keys apart in a ledger. */
const NAME_DIGITS = 12;

/** Who asks: whom requests are billed to, and whose cached prefixes they may share. */
export class Tenant {
  /** In the ledger: nothing of the API key itself. */
  readonly name: string;
  readonly #identity: string;

  private constructor(name: string, identity: string) {
    this.name = name;
    this.#identity = identity;
  }

  /** Without a key everybody is one tenant. */
  static ofKey(apiKey: string | undefined): Tenant {
    if (apiKey === undefined) return new Tenant("default", "default");
    const digest = createHash("sha256").update(apiKey, "utf16le").digest("hex");
    return new Tenant(`key-${digest.slice(0, NAME_DIGITS)}`, digest);
  }

  /** Whose key has a name keeps prefixes and bills with a new key. */
  static named(name: string): Tenant {
    // No other identity has a colon.
    return new Tenant(name, `named:${name}`);
  }

  /** Requests of one tenant share prefixes if they have the same salt, or none. */
  prefixes(salt: string | null | undefined): string {
    // No identity has a space.
    return salt === null || salt === undefined ? this.#identity : `${this.#identity} ${salt}`;
  }
}
