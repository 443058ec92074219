/** How much of some prompts a cache answered. */
export interface PrefixHits {
  readonly blocks: number;
  /** Of these, found in the cache with all blocks before them. */
  readonly hits: number;
}

/** Prompts, each a list of block identifiers, one after the other against a cache of every block. */
export function infiniteCacheHits(prompts: readonly (readonly number[])[]): PrefixHits {
  return lruCacheHits(prompts, Infinity);
}

/** The same against a cache that keeps the `capacity` blocks used last. */
export function lruCacheHits(
  prompts: readonly (readonly number[])[],
  capacity: number,
): PrefixHits {
  /** Least recently used first. */
  const cached = new Set<number>();
  let blocks = 0;
  let hits = 0;
  for (const prompt of prompts) {
    const miss = prompt.findIndex((block) => !cached.has(block));
    blocks += prompt.length;
    hits += miss < 0 ? prompt.length : miss;
    for (const block of prompt) {
      cached.delete(block);
      cached.add(block);
    }
    for (const block of cached) {
      if (cached.size <= capacity) break;
      cached.delete(block);
    }
  }
  return { blocks, hits };
}
