/** Why `get` has no content to give: `no file` is a pipe, a link or a folder in the content's place. */
export type BlobProblem = "absent" | "wrong size" | "no file";

/**
 * Where the context cache keeps its blocks: immutable content under hexadecimal names of 64 digits.
 * Several stores, on several machines, may share what lies behind them. Anything may disappear at
 * any time, and a reader checks what it gets. Times are milliseconds since the epoch. Whatever the
 * store cannot do rejects.
 */
export interface BlobStore {
  /**
   * Authenticates the blocks of all who share the store. Blocks of a store without one are good to
   * the cache that wrote them only.
   */
  readonly key?: Uint8Array;
  /** The content if it is exactly `bytes` long, otherwise it is not read; counts as a use. */
  get(name: string, bytes: number, usedAt: number): Promise<Uint8Array | BlobProblem>;
  /**
   * Stores or replaces content; others see all of it or nothing. May remove what is old or least
   * recently used to make room; content that is larger than all that may be kept rejects.
   */
  put(name: string, content: Uint8Array, usedAt: number): Promise<void>;
  /** Whether content of exactly this length is there; counts as a use. */
  touch(name: string, bytes: number, usedAt: number): Promise<boolean>;
  /** Removes content, if it is there. */
  delete(name: string): Promise<void>;
  /**
   * Gives up connections, of a store that has some, for tests and benches that go on without it: those of a
   * rank end with its thread.
   */
  close?(): void;
}
