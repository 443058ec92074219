import { createStoredRows, PAGE_TOKENS } from "../../kernels/index.ts";
import {
  BlockKeys,
  ContextCache,
  PagePool,
  type BlobStore,
  type ContextCacheStats,
} from "../../kv-cache/index.ts";
import type { NumericIdentity } from "../../model/index.ts";
import type { TraceRequest } from "../mooncake.ts";
import type { PrefixHits } from "./prefix-hits.ts";

/** Values of KV that stand for one token: what a block holds matters here, not how much. */
const WIDTH = 4;
const BLOCK_VALUES = PAGE_TOKENS * WIDTH;
/** What a store keeps for a block of the replay: header and checksum, and one BF16 layer. */
export const REPLAY_BLOCK_BYTES = 128 + BLOCK_VALUES * 2;

const identity: NumericIdentity = {
  modelHash: "replay",
  modelBytes: "sample",
  policy: "w8a16",
  bits: "none",
  numericsVersion: 0,
};

export interface Replay extends PrefixHits {
  readonly stats: ContextCacheStats;
}

/**
 * Runs a trace through the context cache without a model: every trace block becomes one block of 64
 * tokens whose KV is fixed by its identifier, on a rank with pages for the longest prompt. The
 * trace's clock is the cache's. `between`: awaited before each request.
 * @throws Error if the cache ever serves other values than were saved
 */
export async function replayTrace(
  requests: readonly Pick<TraceRequest, "at" | "blocks">[],
  store: BlobStore,
  between: (index: number) => Promise<void> = async () => undefined,
): Promise<Replay> {
  const rank = new ReplayRank(store, Math.max(...requests.map(({ blocks }) => blocks.length)));
  let hits = 0;
  for (const [index, request] of requests.entries()) {
    await between(index);
    hits += await rank.serve(request);
  }
  const blocks = requests.reduce((sum, request) => sum + request.blocks.length, 0);
  return { blocks, hits, stats: rank.stats };
}

/** Nothing is computed in its place: each block is waited for. */
const COMPUTE_MS = 3_600_000;

class ReplayRank {
  readonly #entries: Uint16Array;
  readonly #pool: PagePool;
  readonly #cache: ContextCache;
  /** Milliseconds since the epoch; the trace begins at some time after it. */
  #now = 0;

  constructor(store: BlobStore, pages: number) {
    this.#entries = createStoredRows("bf16", pages * BLOCK_VALUES) as Uint16Array;
    this.#pool = new PagePool(pages);
    const width = BLOCK_VALUES / PAGE_TOKENS;
    const kv = { width, layers: [{ entries: this.#entries }] };
    this.#cache = new ContextCache({ store, identity, kv, pages, now: () => this.#now });
  }

  get stats(): ContextCacheStats {
    return this.#cache.stats;
  }

  /** Answers one prompt and saves what it had to compute; how many of its blocks were cached. */
  async serve({ at, blocks }: Pick<TraceRequest, "at" | "blocks">): Promise<number> {
    this.#now = 2 ** 40 + at;
    const keys = new BlockKeys("").upTo(tokensOf(blocks));
    const inPool = this.#pool.countMatching(keys);
    const pages = keys.map((key, i) =>
      i < inPool ? this.#pool.reuse(key) : (this.#pool.allocate() as number),
    );
    const missing = { keys: keys.slice(inPool), pages: pages.slice(inPool), first: inPool };
    const hits =
      inPool + (await this.#cache.load(missing, new AbortController().signal, COMPUTE_MS));
    blocks.forEach((block, i) => {
      if (i < hits) this.#expectValues(pages[i], block);
      else this.#page(pages[i]).set(valuesOf(block));
      if (i >= inPool) pages[i] = this.#pool.publish(pages[i], keys[i]);
      if (i >= hits) this.#cache.save(keys[i], pages[i], i);
    });
    for (const page of pages.toReversed()) this.#pool.release(page);
    await this.#cache.flush();
    return hits;
  }

  #page(page: number): Uint16Array {
    return this.#entries.subarray(page * BLOCK_VALUES, (page + 1) * BLOCK_VALUES);
  }

  #expectValues(page: number, block: number): void {
    const expected = valuesOf(block);
    if (this.#page(page).every((value, i) => value === expected[i])) return;
    throw new Error(`the cache served other values for block ${block}`);
  }
}

function tokensOf(blocks: readonly number[]): number[] {
  return blocks.flatMap((block) => Array.from({ length: PAGE_TOKENS }, () => block));
}

/** Fixed values that look random, of a block's identifier. */
function valuesOf(block: number): Uint16Array {
  return Uint16Array.from(
    { length: BLOCK_VALUES },
    (_, i) => Math.imul(block * BLOCK_VALUES + i + 1, 0x9e3779b1) >>> 16,
  );
}
