import { PAGE_TOKENS } from "../../kernels/index.ts";
import type { ModelConfig } from "../../model/index.ts";
import type { EngineLimits } from "../messages.ts";

/**
 * What a request must fit on a rank of so many pages.
 * @throws RangeError if `maxModelLen` is no length
 */
export function limitsOf(
  { maxPositions, vocabSize, eosTokens }: ModelConfig,
  { pages, maxModelLen }: { readonly pages: number; readonly maxModelLen?: number },
): EngineLimits {
  const fits = Math.min(maxPositions, pages * PAGE_TOKENS);
  expectWhole("maxModelLen", maxModelLen ?? fits, 2);
  return { maxModelLen: Math.min(maxModelLen ?? fits, fits), vocabSize, eosTokens, pages };
}

/** @throws RangeError that names the field */
export function expectWhole(name: string, value: number, least: number): void {
  if (Number.isInteger(value) && value >= least) return;
  throw new RangeError(`${name}: expected a whole number of at least ${least}, got ${value}`);
}
