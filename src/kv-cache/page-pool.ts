import type { BlockKey } from "./prefix.ts";

/**
 * The accounts of a rank's KV pages. A page is free, in use by one or more sequences, or cached:
 * used by none, but holding a block that may be asked for again. Cached pages are given away least
 * recently used first. A block never outlives the blocks before it, because a sequence publishes its
 * blocks in order, holds the named page of each, and releases the last one first.
 */
export class PagePool {
  readonly pages: number;
  readonly #free: number[];
  readonly #users: Int32Array;
  readonly #keys: (BlockKey | undefined)[];
  readonly #byKey = new Map<BlockKey, number>();
  /** Cached pages, least recently used first. */
  readonly #cached = new Set<number>();

  constructor(pages: number) {
    this.pages = pages;
    this.#free = Array.from({ length: pages }, (_, i) => pages - 1 - i);
    this.#users = new Int32Array(pages);
    this.#keys = Array.from({ length: pages });
  }

  get inUse(): number {
    return this.pages - this.available;
  }

  get cached(): number {
    return this.#cached.size;
  }

  /** Pages that can be allocated: free, or cached and forgettable. */
  get available(): number {
    return this.#free.length + this.#cached.size;
  }

  /** A page for new content, or undefined when every page is in use. */
  allocate(): number | undefined {
    const page = this.#free.pop() ?? this.#evict();
    if (page !== undefined) this.#users[page] = 1;
    return page;
  }

  /** How many of these blocks, from the first, are in the pool. */
  countMatching(keys: readonly BlockKey[]): number {
    const missing = keys.findIndex((key) => !this.#byKey.has(key));
    return missing < 0 ? keys.length : missing;
  }

  /** Takes a page that holds a known block into use. */
  reuse(key: BlockKey): number {
    const page = this.#byKey.get(key);
    if (page === undefined) throw new RangeError("the block is not in the pool");
    this.#cached.delete(page);
    this.#users[page]++;
    return page;
  }

  /**
   * Names the content of a full page in use, and returns the page to use from now on. Where another
   * page already holds the block, with the same bits, that one is shared and this one is free.
   */
  publish(page: number, key: BlockKey): number {
    this.#expectInUse(page);
    if (this.#keys[page] !== undefined) throw new RangeError(`page ${page} already holds a block`);
    if (this.#byKey.has(key)) {
      this.release(page);
      return this.reuse(key);
    }
    this.#keys[page] = key;
    this.#byKey.set(key, page);
    return page;
  }

  /** One user fewer; the last one leaves the page cached if it has a name, else free. */
  release(page: number): void {
    this.#expectInUse(page);
    if (--this.#users[page] > 0) return;
    if (this.#keys[page] === undefined) this.#free.push(page);
    else this.#cached.add(page);
  }

  #expectInUse(page: number): void {
    if (!(this.#users[page] > 0)) throw new RangeError(`page ${page} is not in use`);
  }

  #evict(): number | undefined {
    const [page] = this.#cached;
    if (page === undefined) return undefined;
    this.#cached.delete(page);
    this.#byKey.delete(this.#keys[page] as BlockKey);
    this.#keys[page] = undefined;
    return page;
  }
}
