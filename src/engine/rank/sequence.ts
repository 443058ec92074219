import {
  allows,
  onlyToken,
  PAGE_TOKENS,
  SamplingState,
  type TokenMask,
} from "../../kernels/index.ts";
import { BlockKeys, type BlockKey, type Loan } from "../../kv-cache/index.ts";
import type { FinishReason, GenerationRequest } from "../messages.ts";

/** What may come after a token. */
export interface MaskedPlace {
  readonly after: number;
  readonly mask: TokenMask;
}

/** One request on its way: its tokens so far and the pages that hold their KV. */
export class Sequence {
  readonly handle: number;
  readonly request: GenerationRequest;
  /** Page of each 64 tokens, in order. */
  pages: number[] = [];
  /** Tokens whose KV is in `pages`, and stays. */
  computed = 0;
  /** The first pages, which are full and named, so that others may reuse them. */
  published = 0;
  /** The rank that decodes this sequence, where it is not the one that prefills it. */
  readonly decodeRank: number | undefined;
  /** Whether a prefill rank computes its prompt, which it has not yet handed over. */
  arriving = false;
  /** While blocks are read from the context cache into `pages`; aborting it frees them. */
  fetching: AbortController | undefined;
  /**
   * Positions that the decode rank reads for the prefill rank: on the prefill rank while it waits for them, on
   * the decode rank as it was asked.
   */
  loan: Loan | undefined;
  /** Whether the decode rank is to be asked for blocks that are not in the pool. */
  borrows = false;
  /** Whether the client has been told that computation began. */
  started = false;
  /** Its masks come late: it is in no step before it has the next one. */
  hasLateMasks = false;
  /** When the mask of its next token was first of use, in milliseconds of the rank's clock. */
  maskWantedAt = 0;
  /** What may come next, and after each of the tokens that are foreseen. */
  readonly #masks: TokenMask[] = [];
  readonly #foreseen: number[] = [];
  #tokens: Uint32Array;
  /** What `#tokens` is the beginning of; at first the prompt, which is the caller's. */
  #room: Uint32Array;
  readonly #keys: BlockKeys;
  #sampling: SamplingState | undefined;

  constructor(handle: number, request: GenerationRequest, decodeRank?: number) {
    this.handle = handle;
    this.request = request;
    this.decodeRank = decodeRank;
    this.#tokens = request.prompt;
    this.#room = request.prompt;
    if (request.mask) this.#masks.push(request.mask);
    this.#keys = new BlockKeys(request.tenant, request.blockKeys);
  }

  /** Prompt, then generated tokens; a view that the next token does not change. */
  get tokens(): Uint32Array {
    return this.#tokens;
  }

  /** Tokens it came with: the prompt, and what ranks that are lost had generated. */
  get givenLength(): number {
    return this.request.prompt.length;
  }

  get promptLength(): number {
    return this.givenLength - (this.request.generated ?? 0);
  }

  get generated(): number {
    return this.tokens.length - this.promptLength;
  }

  /** Whether it lacks more than its next token: else it ends where that is computed. */
  get goesOn(): boolean {
    return this.request.maxTokens - this.generated > 1;
  }

  /** Why it ends with the token that was appended last, if it does. */
  endsWith(token: number, maxModelLen: number): FinishReason | undefined {
    if (this.request.stopTokens.includes(token)) return "stop";
    const full = this.generated >= this.request.maxTokens || this.tokens.length >= maxModelLen;
    return full ? "length" : undefined;
  }

  /** Tokens still to be computed before the next one can be sampled. */
  get remaining(): number {
    return this.tokens.length - this.computed;
  }

  /** Keys of all full blocks of tokens. */
  get blockKeys(): readonly BlockKey[] {
    return this.#keys.upTo(this.#tokens);
  }

  /** What its penalties and biases are made of, from the first time a token of it is chosen. */
  get sampling(): SamplingState {
    if (!this.#sampling) {
      this.#sampling = new SamplingState(this.request.sampling, this.promptLength);
      for (const token of this.tokens) this.#sampling.append(token);
    }
    return this.#sampling;
  }

  /** Whether only tokens that masks allow are chosen. */
  get isConstrained(): boolean {
    return this.request.mask !== undefined;
  }

  /** Whether its next token has to wait for a mask. */
  get lacksMask(): boolean {
    return this.isConstrained && this.#masks.length === 0;
  }

  /** What may come from a position on, at each place if the tokens before it come or have come. */
  allow(position: number, places: readonly MaskedPlace[]): void {
    for (const [i, { after, mask }] of places.entries()) {
      const place = position + i - this.#tokens.length;
      if (place > this.#masks.length) return;
      if (place <= 0) {
        if (this.#tokens[position + i - 1] !== after) return;
        if (place < 0) continue;
      } else if (this.#foreseen[place - 1] !== after) {
        this.#foreseen.splice(place - 1, Infinity, after);
        this.#masks.length = place;
      }
      this.#masks[place] = mask;
    }
  }

  /** What may come after its tokens, or after others that are foreseen to follow them. */
  maskAfter(tokens: ArrayLike<number>): TokenMask | undefined {
    const { length } = this.#tokens;
    for (let i = length; i < tokens.length; i++) {
      if (tokens[i] !== this.#foreseen[i - length]) return undefined;
    }
    return this.#masks[tokens.length - length];
  }

  /** Guessed tokens while they may come; where only one may, and what may follow it is known, that one. */
  possible(guessed: readonly number[]): readonly number[] {
    const tokens: number[] = [];
    for (const [i, mask] of this.#masks.entries()) {
      const next = this.#foreseen[i];
      const token = next !== undefined && onlyToken(mask) === next ? next : guessed[i];
      if (token === undefined || !allows(mask, token)) return tokens;
      tokens.push(token);
      // Nothing is known of what follows other tokens, and nothing guessed.
      if (token !== next) return [...tokens, ...guessed.slice(i + 1)];
      if (token !== guessed[i]) guessed = [];
    }
    return [...tokens, ...guessed.slice(tokens.length)];
  }

  append(token: number): void {
    this.#masks.shift();
    if (this.#foreseen.shift() !== token) {
      this.#masks.length = 0;
      this.#foreseen.length = 0;
    }
    this.#tokens = this.followedBy([token]);
    this.#sampling?.append(token);
  }

  /** The tokens and others that may come after them; a view that lasts until a token is appended. */
  followedBy(proposed: readonly number[]): Uint32Array {
    if (proposed.length === 0) return this.#tokens;
    const { length } = this.#tokens;
    const all = length + proposed.length;
    if (all > this.#room.length) {
      this.#room = new Uint32Array(2 * all + PAGE_TOKENS);
      this.#room.set(this.#tokens);
    }
    this.#room.set(proposed, length);
    return this.#room.subarray(0, all);
  }
}
