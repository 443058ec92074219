import { createHash } from "node:crypto";
import { PAGE_TOKENS } from "../kernels/index.ts";

/**
 * Identity of a full page's content: a SHA-256 chained over the tenant and all tokens up to the
 * page's end, so equal keys mean equal context.
 */
export type BlockKey = string;

const KEY_BYTES = 32;

/** Keys of the full pages of a growing token list; each page is hashed once. */
export class BlockKeys {
  readonly #keys: BlockKey[];
  readonly #root: Buffer;

  /** `known`: the keys of the first pages, as `bytesOfKeys` gives them. */
  constructor(tenant: string, known: Uint8Array = new Uint8Array(0)) {
    // UTF-8 would make all lone surrogates, and so tenants, equal.
    this.#root = createHash("sha256").update(tenant, "utf16le").digest();
    const bytes = Buffer.from(known.buffer, known.byteOffset, known.length);
    this.#keys = Array.from({ length: bytes.length / KEY_BYTES }, (_, page) =>
      bytes.toString("base64", page * KEY_BYTES, (page + 1) * KEY_BYTES),
    );
  }

  /** Keys of every full page of `tokens`, which must extend what was given before. */
  upTo(tokens: ArrayLike<number>): readonly BlockKey[] {
    const full = Math.floor(tokens.length / PAGE_TOKENS);
    const page = new Int32Array(PAGE_TOKENS);
    while (this.#keys.length < full) {
      const start = this.#keys.length * PAGE_TOKENS;
      for (let i = 0; i < PAGE_TOKENS; i++) page[i] = tokens[start + i];
      const parent = this.#keys.at(-1) ?? this.#root;
      this.#keys.push(createHash("sha256").update(parent).update(page).digest("base64"));
    }
    return this.#keys;
  }
}

/** Keys as another thread or node is told them, so that nobody hashes the same tokens again. */
export function bytesOfKeys(keys: readonly BlockKey[]): Uint8Array {
  const bytes = Buffer.alloc(keys.length * KEY_BYTES);
  for (const [page, key] of keys.entries()) bytes.write(key, page * KEY_BYTES, "base64");
  return new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.length);
}

/** Whether there are as many keys as full pages of so many tokens. */
export const coversPages = (keys: Uint8Array, tokens: number): boolean =>
  keys.length === Math.floor(tokens / PAGE_TOKENS) * KEY_BYTES;
