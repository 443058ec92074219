import type { BlockKey } from "./prefix.ts";

/**
 * The accounts of a rank's KV pages. A page is free, in use by one or more sequences, or cached:
 * used by none, but holding a block that may be asked for again. Cached pages are given away least
 * recently used first; sequences release their last page first, so a block never outlives the
 * blocks before it.
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

  /** Names a full page's content; the first page to hold a block keeps the name. */
  publish(page: number, key: BlockKey): void {
    if (this.#keys[page] !== undefined || this.#byKey.has(key)) return;
    this.#keys[page] = key;
    this.#byKey.set(key, page);
  }

  /** One user fewer; the last one leaves the page cached if it has a name, else free. */
  release(page: number): void {
    if (this.#users[page] <= 0) throw new RangeError(`page ${page} is not in use`);
    if (--this.#users[page] > 0) return;
    if (this.#keys[page] === undefined) this.#free.push(page);
    else this.#cached.add(page);
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
