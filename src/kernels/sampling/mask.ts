/** Changes to logits that no token before changes. */
export interface Biases {
  readonly biasTokens: Int32Array;
  readonly biases: Float64Array;
}

const NONE = -1;

/** The token of a mask that allows no other. */
export function onlyToken(allowed: Uint32Array): number | undefined {
  let found: number | undefined;
  for (let i = 0; i < allowed.length; i++) {
    const word = allowed[i];
    if (word === 0) continue;
    if (found !== undefined || (word & (word - 1)) !== 0) return undefined;
    found = 32 * i + 31 - Math.clz32(word);
  }
  return found;
}

/** Which tokens may come: a bit for each, in words of 32. What it does to logits is made once for all rows. */
export class TokenMask {
  readonly #allowed: Uint32Array;
  #biases: Biases | undefined;
  #only: number | undefined;

  constructor(allowed: Uint32Array) {
    this.#allowed = allowed;
  }

  /** −∞ for each other token. */
  get biases(): Biases {
    return (this.#biases ??= this.#forbid());
  }

  /** The one token that may come, if there is but one. */
  get only(): number | undefined {
    return (this.#only ??= onlyToken(this.#allowed) ?? NONE) === NONE ? undefined : this.#only;
  }

  #forbid(): Biases {
    const tokens = new Int32Array(32 * this.#allowed.length);
    let count = 0;
    for (const [i, word] of this.#allowed.entries()) {
      if (word === 0xffffffff) continue;
      for (let bit = 0; bit < 32; bit++)
        if (((word >>> bit) & 1) === 0) tokens[count++] = 32 * i + bit;
    }
    const biasTokens = tokens.slice(0, count);
    return { biasTokens, biases: new Float64Array(count).fill(-Infinity) };
  }
}
