import { PAGE_TOKENS } from "../../kernels/index.ts";
import { BlockKeys, type BlockKey } from "../../kv-cache/index.ts";
import type { AskedRequest } from "../messages.ts";

/**
 * What a rank's pool probably holds: the blocks of the prompts it was last given, as many as it has
 * pages. A wrong guess costs time, never an answer.
 */
export class PrefixGuess {
  readonly #pages: number;
  /** Least recently given first. */
  readonly #blocks = new Set<BlockKey>();

  constructor(pages: number) {
    this.#pages = pages;
  }

  /** Leading tokens of a prompt that the rank need not compute. */
  cachedTokens(keys: readonly BlockKey[]): number {
    const missing = keys.findIndex((key) => !this.#blocks.has(key));
    return (missing < 0 ? keys.length : missing) * PAGE_TOKENS;
  }

  remember(keys: readonly BlockKey[]): void {
    for (const key of keys) {
      this.#blocks.delete(key);
      this.#blocks.add(key);
    }
    for (const oldest of this.#blocks) {
      if (this.#blocks.size <= this.#pages) return;
      this.#blocks.delete(oldest);
    }
  }
}

/** Keys of the blocks of a prompt that may be reused; its last token is always computed. */
export function reusableBlocks({ tenant, prompt, blockKeys }: AskedRequest): readonly BlockKey[] {
  const keys = new BlockKeys(tenant, blockKeys).upTo(prompt);
  return keys.slice(0, Math.floor((prompt.length - 1) / PAGE_TOKENS));
}
