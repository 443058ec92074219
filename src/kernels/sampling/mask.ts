/** Changes to logits that no token before changes. */
export interface Biases {
  readonly biasTokens: Int32Array;
  readonly biases: Float64Array;
}

/** Which tokens may come: a bit for each, in words of 32. What it does to logits is made once for all rows. */
export class TokenMask {
  readonly #allowed: Uint32Array;
  #biases: Biases | undefined;

  constructor(allowed: Uint32Array) {
    this.#allowed = allowed;
  }

  /** −∞ for each other token. */
  get biases(): Biases {
    return (this.#biases ??= this.#forbid());
  }

  allows(token: number): boolean {
    return ((this.#allowed[token >> 5] >>> (token & 31)) & 1) === 1;
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
