import { PAGE_TOKENS } from "../../kernels/index.ts";
import { contextLimit, type ModelConfig } from "../../model/index.ts";
import type { EngineLimits } from "../messages.ts";

/**
 * What a request must fit on a rank of so many pages.
 * @throws RangeError if `maxModelLen` is no length, or more than model and pages have
 */
export function limitsOf(
  config: ModelConfig,
  { pages, maxModelLen }: { readonly pages: number; readonly maxModelLen?: number },
): EngineLimits {
  const { maxPositions, vocabSize, eosTokens } = config;
  const held = pages * PAGE_TOKENS;
  const fits = Math.min(maxPositions, held);
  const asked = maxModelLen ?? fits;
  expectWhole("maxModelLen", asked, 2);
  const why =
    held < maxPositions
      ? `the KV pool has ${pages} pages of ${PAGE_TOKENS} tokens`
      : contextLimit(config);
  if (asked > fits) {
    throw new RangeError(`maxModelLen: expected at most ${fits} tokens (${why}), got ${asked}`);
  }
  const isShorter = held < maxPositions || config.indexTopK === maxPositions;
  const limitedBy = isShorter && asked === fits ? { limitedBy: why } : {};
  return { maxModelLen: asked, ...limitedBy, vocabSize, eosTokens, pages };
}

/** @throws RangeError that names the field */
export function expectWhole(name: string, value: number, least: number): void {
  if (Number.isInteger(value) && value >= least) return;
  throw new RangeError(`${name}: expected a whole number of at least ${least}, got ${value}`);
}
