import { PAGE_TOKENS, SamplingState, TokenMask } from "../../kernels/index.ts";
import { BlockKeys, type BlockKey } from "../../kv-cache/index.ts";
import type { GenerationRequest } from "../messages.ts";

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
  /** Whether the client has been told that computation began. */
  started = false;
  /** Its masks come late: it is in no step before it has the next one. */
  hasLateMasks = false;
  /** When the mask of its next token was first of use, in milliseconds of the rank's clock. */
  maskWantedAt = 0;
  /** By the number of tokens before the place that they are of. */
  readonly #masks = new Map<number, TokenMask>();
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
    const { mask, prompt } = request;
    if (mask) this.#masks.set(prompt.length, new TokenMask(mask));
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
    return this.isConstrained && !this.#masks.has(this.#tokens.length);
  }

  allow(position: number, mask: TokenMask): void {
    if (position >= this.#tokens.length) this.#masks.set(position, mask);
  }

  /** Tokens that must come next, as far as the mask behind them is known too. */
  get forced(): number[] {
    const tokens: number[] = [];
    for (let at = this.#tokens.length; this.#masks.has(at + 1); at++) {
      const only = this.#masks.get(at)?.only;
      if (only === undefined) break;
      tokens.push(only);
    }
    return tokens;
  }

  /** Has tokens chosen of those that their masks allow. */
  applyMasks(): void {
    for (const [position, mask] of this.#masks) this.sampling.allow(position, mask);
  }

  append(token: number): void {
    this.#masks.delete(this.#tokens.length);
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
