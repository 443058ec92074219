/** Tokens of a context's end that must have stood together before. */
const SHORTEST = 3;
/** Longer agreements count as equal. */
const LONGEST = 32;
/** Earlier places that are compared, the latest first. */
const CANDIDATES = 8;
const NOWHERE = -1;

/**
 * Prompt look-up: proposes that a context goes on as it did where its last tokens stood before, the
 * place with the longest agreement, as LZ77 finds its matches (and as n-gram speculation does in
 * vLLM and transformers).
 */
export class Repeats {
  /** Last place where a run of SHORTEST tokens with this hash ended. */
  #heads = new Int32Array(0);
  /** By place: the place before it with the same hash. */
  #previous = new Int32Array(0);
  #indexed = 0;

  /** At most so many tokens; none where the end has not stood before. */
  propose(tokens: Uint32Array, most: number): number[] {
    this.#index(tokens);
    const place = this.#longest(tokens);
    if (place === NOWHERE) return [];
    const proposed: number[] = [];
    for (let i = place + 1; proposed.length < most; i++) {
      // A repetition that reaches the context's end goes on with itself.
      proposed.push(i < tokens.length ? tokens[i] : proposed[i - tokens.length]);
    }
    return proposed;
  }

  /** Places that have a token after them. */
  #index(tokens: Uint32Array): void {
    if (tokens.length > this.#previous.length) this.#grow(tokens.length);
    const heads = this.#heads;
    for (; this.#indexed < tokens.length - 1; this.#indexed++) {
      const place = this.#indexed;
      if (place < SHORTEST - 1) continue;
      const slot = hashAt(tokens, place) & (heads.length - 1);
      this.#previous[place] = heads[slot];
      heads[slot] = place;
    }
  }

  /** Hashes need new slots when there are more of them. */
  #grow(length: number): void {
    const slots = 2 ** Math.ceil(Math.log2(2 * length));
    this.#heads = new Int32Array(slots).fill(NOWHERE);
    this.#previous = new Int32Array(slots);
    this.#indexed = 0;
  }

  #longest(tokens: Uint32Array): number {
    const end = tokens.length - 1;
    if (end < SHORTEST) return NOWHERE;
    let best = NOWHERE;
    let bestLength = SHORTEST - 1;
    let place = this.#heads[hashAt(tokens, end) & (this.#heads.length - 1)];
    for (let i = 0; i < CANDIDATES && place !== NOWHERE; i++, place = this.#previous[place]) {
      const length = agreement(tokens, place, end);
      if (length > bestLength) [best, bestLength] = [place, length];
    }
    return best;
  }
}

/** Of the SHORTEST tokens up to a place. */
function hashAt(tokens: Uint32Array, place: number): number {
  let hash = 0;
  for (let i = place - SHORTEST + 1; i <= place; i++) {
    hash = Math.imul(hash ^ tokens[i], 0x9e3779b1);
    hash ^= hash >>> 15;
  }
  return hash;
}

/** Tokens in which the contexts up to two places agree. */
function agreement(tokens: Uint32Array, place: number, end: number): number {
  let length = 0;
  while (length < LONGEST && length <= place && tokens[place - length] === tokens[end - length]) {
    length++;
  }
  return length;
}
