import type { TokenMask } from "../stream.ts";

const NONE = -1;
const onlyTokens = new WeakMap<TokenMask, number>();

export function allows(mask: TokenMask, token: number): boolean {
  return (((mask[token >>> 5] ?? 0) >>> (token & 31)) & 1) === 1;
}

/** Of the first `usable` tokens those that may come, in their order. */
export function allowedTokens(mask: TokenMask, usable: number): Int32Array {
  return Int32Array.from({ length: usable }, (_, token) => token).filter((token) =>
    allows(mask, token),
  );
}

/** The token of a mask that allows no other; known from the first time on, since masks stay as they are. */
export function onlyToken(mask: TokenMask): number | undefined {
  const known = onlyTokens.get(mask) ?? findOnly(mask);
  onlyTokens.set(mask, known);
  return known === NONE ? undefined : known;
}

function findOnly(mask: TokenMask): number {
  let found = NONE;
  for (let i = 0; i < mask.length; i++) {
    const word = mask[i];
    if (word === 0) continue;
    if (found !== NONE || (word & (word - 1)) !== 0) return NONE;
    found = 32 * i + 31 - Math.clz32(word);
  }
  return found;
}
