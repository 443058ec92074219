import { BlockKeys, type ArrivingKv, type BlockKey } from "../../kv-cache/index.ts";
import type { GenerationRequest } from "../messages.ts";

/** One request on its way: its tokens so far and the pages that hold their KV. */
export class Sequence {
  readonly handle: number;
  readonly request: GenerationRequest;
  /** Prompt, then generated tokens. */
  readonly tokens: number[];
  /** Page of each 64 tokens, in order. */
  pages: number[] = [];
  /** Tokens whose KV is in `pages`. */
  computed = 0;
  /** The rank that decodes this sequence, where it is not the one that prefills it. */
  readonly decodeRank: number | undefined;
  /** Positions whose KV the decode rank has been sent. */
  sent = 0;
  /** KV that came from a prefill rank, until it is in pages. */
  arrived: ArrivingKv | undefined;
  /** While blocks are read from the context cache into `pages`; aborting it frees them. */
  fetching: AbortController | undefined;
  /** Whether the client has been told that computation began. */
  started = false;
  readonly #keys: BlockKeys;

  constructor(handle: number, request: GenerationRequest, decodeRank?: number) {
    this.handle = handle;
    this.request = request;
    this.decodeRank = decodeRank;
    this.tokens = [...request.prompt];
    this.#keys = new BlockKeys(request.tenant);
  }

  get promptLength(): number {
    return this.request.prompt.length;
  }

  get generated(): number {
    return this.tokens.length - this.promptLength;
  }

  /** Tokens still to be computed before the next one can be sampled. */
  get remaining(): number {
    return this.tokens.length - this.computed;
  }

  /** Key of a full block of tokens. */
  blockKey(block: number): BlockKey {
    return this.#keys.upTo(this.tokens)[block];
  }
}
