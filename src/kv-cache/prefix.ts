import { createHash } from "node:crypto";
import { PAGE_TOKENS } from "../kernels/index.ts";

/**
 * Identity of a full page's content: a SHA-256 chained over the tenant and all tokens up to the
 * page's end, so equal keys mean equal context.
 */
export type BlockKey = string;

/** Keys of the full pages of a growing token list. */
export class BlockKeys {
  readonly #keys: BlockKey[] = [];
  readonly #root: Buffer;

  constructor(tenant: string) {
    // UTF-8 would make all lone surrogates, and so tenants, equal.
    this.#root = createHash("sha256").update(tenant, "utf16le").digest();
  }

  /** Keys of every full page of `tokens`, which must extend what was given before. */
  upTo(tokens: readonly number[]): readonly BlockKey[] {
    const full = Math.floor(tokens.length / PAGE_TOKENS);
    while (this.#keys.length < full) {
      const start = this.#keys.length * PAGE_TOKENS;
      const parent = this.#keys.at(-1) ?? this.#root;
      const block = Int32Array.from(tokens.slice(start, start + PAGE_TOKENS));
      this.#keys.push(createHash("sha256").update(parent).update(block).digest("base64"));
    }
    return this.#keys;
  }
}
