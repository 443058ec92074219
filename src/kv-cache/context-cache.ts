import { randomBytes } from "node:crypto";
import { systemClock, type Clock } from "../cluster/index.ts";
import type { KvPool, NumericIdentity } from "../model/index.ts";
import { BlockCodec, type BlockDamage } from "./block-codec.ts";
import type { BlobProblem, BlobStore } from "./blob-store.ts";
import { PageBytes } from "./page-bytes.ts";
import type { BlockKey } from "./prefix.ts";
import { ReadGain } from "./read-gain.ts";
import { StoreGuard } from "./store-guard.ts";
import { WriteQueue } from "./write-queue.ts";

export interface ContextCacheOptions {
  readonly store: BlobStore;
  readonly identity: NumericIdentity;
  /** The rank's pool that blocks are copied from and to. */
  readonly kv: KvPool;
  /** Pages of `kv`. */
  readonly pages: number;
  /** Memory for blocks that wait to be written. */
  readonly queueBytes?: number;
  /** Milliseconds since the epoch. */
  readonly now?: () => number;
  /** Of the deadlines. */
  readonly clock?: Clock;
}

/** Consecutive blocks of one context, and a page of the pool for each. */
export interface BlockRun {
  readonly keys: readonly BlockKey[];
  readonly pages: readonly number[];
  /** Blocks of the context before these. */
  readonly first: number;
}

export type Rejection = Exclude<BlobProblem, "absent"> | BlockDamage;

/** Counts since the start, of blocks where no unit is named. */
export interface ContextCacheStats {
  /** Blocks that were asked for and copied to a page. */
  readonly hits: number;
  /** Blocks that were asked for and must be computed. */
  readonly misses: number;
  /** Blocks that were not asked for, or not waited for, since computing them was faster by what both took so far. */
  readonly computed: number;
  readonly bytesRead: number;
  readonly written: number;
  readonly bytesWritten: number;
  /** Not written because others already waited for the store, or it is bypassed. */
  readonly dropped: number;
  /** Reads and writes that were given up. */
  readonly late: number;
  /** Reads and writes that the store rejected. */
  readonly failed: number;
  /** Blocks that a decode rank gave to the ranks that computed their prompts, from its pool or the store. */
  readonly lent: number;
  /** Microseconds that a block takes to be read, and to be lent, where that is known. */
  readonly blockMicros: Readonly<Partial<Record<"read" | "lent", number>>>;
  /** Files that were there but could not be used, by reason; they are removed. */
  readonly rejected: Readonly<Partial<Record<Rejection, number>>>;
  /** Why the store is not read, or not written, while it is bypassed. */
  readonly bypassed: Readonly<Partial<Record<"reads" | "writes", string>>>;
}

const defaultQueueBytes = 128 * 2 ** 20;
/** Blocks of one run read at the same time; the first is read alone, as most prompts start cold. */
const READS_AHEAD = 8;
/** Of all runs, those given up included. */
const MAX_OPEN_READS = 64;
const CONCURRENT_WRITES = 4;
/** A prompt waits for its blocks: a store slower than this saves little. */
const READ_DEADLINE_MS = 2000;
/** Nobody waits for a write, which may first have to look through a large directory for room. */
const WRITE_DEADLINE_MS = 60_000;

/**
 * The blocks of KV kept outside a rank (DeepSeek's on-disk context cache): read before prefill,
 * written behind the step. Each rank has one of its own; they may share the store. What the store
 * holds is never trusted, and nothing that happens to it stops or changes an answer.
 */
export class ContextCache {
  readonly #store: BlobStore;
  readonly #codec: BlockCodec;
  readonly #pages: PageBytes;
  readonly #reads: StoreGuard;
  readonly #writes: StoreGuard;
  readonly #queue: WriteQueue;
  readonly #now: () => number;
  readonly #clock: Clock;
  readonly #gain = new ReadGain(READS_AHEAD);
  /** Names of blocks that wait to be written. */
  readonly #pending = new Set<string>();
  readonly #rejected: Partial<Record<Rejection, number>> = {};
  readonly #count = {
    hits: 0,
    misses: 0,
    computed: 0,
    bytesRead: 0,
    written: 0,
    bytesWritten: 0,
    dropped: 0,
  };

  constructor(options: ContextCacheOptions) {
    const { store, identity, kv, pages, queueBytes = defaultQueueBytes } = options;
    const { now = Date.now, clock = systemClock } = options;
    this.#store = store;
    this.#pages = new PageBytes(kv, pages);
    const key = store.key ?? randomBytes(32);
    this.#codec = new BlockCodec(identity, this.#pages.shape, key);
    this.#reads = new StoreGuard({
      ...{ operations: "reads", deadlineMs: READ_DEADLINE_MS, maxOpen: MAX_OPEN_READS, clock },
    });
    this.#writes = new StoreGuard({
      ...{ operations: "writes", deadlineMs: WRITE_DEADLINE_MS, clock },
      maxOpen: 2 * CONCURRENT_WRITES,
    });
    this.#queue = new WriteQueue({ maxBytes: queueBytes, concurrency: CONCURRENT_WRITES });
    this.#now = now;
    this.#clock = clock;
  }

  get stats(): ContextCacheStats {
    const readMs = this.#gain.readMs(1 + READS_AHEAD);
    const [reads, writes] = [this.#reads, this.#writes];
    return {
      ...this.#count,
      dropped: this.#count.dropped + writes.skipped,
      late: reads.late + writes.late,
      failed: reads.failed + writes.failed,
      lent: 0,
      blockMicros: readMs === undefined ? {} : { read: micros(readMs / (1 + READS_AHEAD)) },
      rejected: { ...this.#rejected },
      bypassed: {
        ...(reads.bypassed !== undefined && { reads: reads.bypassed }),
        ...(writes.bypassed !== undefined && { writes: writes.bypassed }),
      },
    };
  }

  /** Whether a load of so many blocks would ask the store, and be there before they are computed. */
  isWorthReading(blocks: number, computeMs = this.#gain.computeMs(blocks)): boolean {
    return this.#reads.admits && this.#gain.pays(blocks, computeMs);
  }

  /** Milliseconds in which blocks would be computed here. */
  computeMs(blocks: number): number {
    return this.#gain.computeMs(blocks);
  }

  /** So many blocks are computed because they are not worth reading. */
  pass(blocks: number): void {
    if (!this.#reads.admits) return;
    this.#gain.passed();
    this.#count.computed += blocks;
  }

  /** A step with prompts, of so many rows, begins; to be called when it is computed. */
  timed(rows: number): () => void {
    const began = this.#clock.now();
    return () => this.#gain.sawComputed(rows, this.#clock.now() - began);
  }

  /**
   * Copies blocks from the store to their pages, up to the first that it does not have, or not before it
   * and those after it would be computed; how many. Once the signal is aborted no page is touched any more.
   * Never rejects.
   * @param computeMs milliseconds in which all of them would be computed
   */
  async load(
    { keys, pages, first }: BlockRun,
    signal: AbortSignal,
    computeMs = this.#gain.computeMs(keys.length),
  ): Promise<number> {
    let loaded = 0;
    let outcome: "whole" | "missing" | "slow" = "whole";
    for (let window = 1; outcome === "whole" && loaded < keys.length; window = READS_AHEAD) {
      const next = keys.slice(loaded, loaded + window);
      const from = first + loaded;
      const began = this.#clock.now();
      const left = () => (computeMs * (keys.length - loaded)) / keys.length;
      const reads = Promise.all(next.map((key, i) => this.#read(key, from + i)));
      const blocks = await this.#inTime(reads, this.#gain.patience(left()));
      if (signal.aborted) return loaded;
      const missing = blocks?.indexOf(undefined) ?? 0;
      for (const payload of missing < 0 ? (blocks ?? []) : (blocks ?? []).slice(0, missing)) {
        this.#pages.copyIn(pages[loaded++], payload as Uint8Array);
      }
      if (!blocks || missing < 0) this.#gain.sawRound(this.#clock.now() - began);
      if (blocks && missing >= 0) outcome = "missing";
      else if (!blocks || !this.#gain.goesOn(keys.length - loaded, left())) outcome = "slow";
    }
    this.#count.hits += loaded;
    this.#count[outcome === "slow" ? "computed" : "misses"] += keys.length - loaded;
    return loaded;
  }

  /**
   * What reads give, or undefined where they take longer than some milliseconds. Who was held up, as by a step,
   * hears its clock before what has come meanwhile: in the next turn it hears of what was read, in the one after
   * that it is whole. (`inTime` would count neither after a short stall, and wait on after a long one, while
   * computing is sooner.)
   */
  async #inTime<T>(reads: Promise<T>, milliseconds: number): Promise<T | undefined> {
    return new Promise((resolve) => {
      const cancel = this.#clock.after(milliseconds, () => {
        this.#clock.soon(() => this.#clock.soon(() => resolve(undefined)));
      });
      void reads.finally(cancel).then(resolve);
    });
  }

  /**
   * Copies a page that holds a whole block, the `depth`th of its context from 0, and writes it
   * when the store has time, unless it is there already. The page may change afterwards.
   */
  save(key: BlockKey, page: number, depth: number): void {
    const name = this.#codec.name(key);
    if (this.#pending.has(name)) return;
    if (!this.#writes.admits || !this.#queue.hasRoom(this.#codec.fileBytes)) {
      this.#count.dropped++;
      return;
    }
    const file = this.#codec.frame(key);
    this.#pages.copyOut(page, this.#codec.payload(file));
    this.#pending.add(name);
    this.#queue.add(file.length, async () => {
      await this.#writes.run(() => this.#write(name, file, depth));
      this.#pending.delete(name);
    });
  }

  /** Resolves when every block saved so far is written or given up. */
  async flush(): Promise<void> {
    await this.#queue.drained();
  }

  async #write(name: string, file: Buffer, depth: number): Promise<void> {
    const usedAt = this.#usedAt(depth);
    if (await this.#store.touch(name, file.length, usedAt)) return;
    await this.#codec.seal(file);
    await this.#store.put(name, file, usedAt);
    this.#count.written++;
    this.#count.bytesWritten += file.length;
  }

  /** A block's payload; undefined if there is none in time. */
  async #read(key: BlockKey, depth: number): Promise<Uint8Array | undefined> {
    return this.#reads.run(() => this.#fetch(key, depth));
  }

  /** A file that cannot be used is counted and removed. */
  async #fetch(key: BlockKey, depth: number): Promise<Uint8Array | undefined> {
    const name = this.#codec.name(key);
    const { fileBytes } = this.#codec;
    const file = await this.#store.get(name, fileBytes, this.#usedAt(depth));
    if (file === "absent") return undefined;
    if (typeof file !== "string") this.#count.bytesRead += file.length;
    const rejection = typeof file === "string" ? file : await this.#codec.damage(file, key);
    if (rejection === undefined) return this.#codec.payload(file as Uint8Array);
    this.#rejected[rejection] = (this.#rejected[rejection] ?? 0) + 1;
    await this.#store.delete(name).catch(() => undefined);
    return undefined;
  }

  /** Blocks are useless without those before them, so later ones count as used a little earlier. */
  #usedAt(depth: number): number {
    return this.#now() - depth;
  }
}

const micros = (milliseconds: number) => Math.round(1000 * milliseconds);

/** Blocks that a rank gave to others, and what the last of them took. */
export interface Lent {
  readonly blocks: number;
  readonly msPerBlock?: number;
}

/** A rank's counts with those of what it lent. */
export function withLoans(
  stats: ContextCacheStats,
  { blocks, msPerBlock }: Lent,
): ContextCacheStats {
  const { blockMicros } = stats;
  const lent = msPerBlock === undefined ? {} : { lent: micros(msPerBlock) };
  return { ...stats, lent: blocks, blockMicros: { ...blockMicros, ...lent } };
}

/** Of two ranks together. */
export function addContextCacheStats(
  a: ContextCacheStats,
  b: ContextCacheStats,
): ContextCacheStats {
  const rejected = { ...a.rejected };
  for (const [reason, count] of Object.entries(b.rejected) as [Rejection, number][]) {
    rejected[reason] = (rejected[reason] ?? 0) + count;
  }
  return {
    hits: a.hits + b.hits,
    misses: a.misses + b.misses,
    computed: a.computed + b.computed,
    bytesRead: a.bytesRead + b.bytesRead,
    written: a.written + b.written,
    bytesWritten: a.bytesWritten + b.bytesWritten,
    dropped: a.dropped + b.dropped,
    late: a.late + b.late,
    failed: a.failed + b.failed,
    lent: a.lent + b.lent,
    blockMicros: { ...b.blockMicros, ...a.blockMicros },
    rejected,
    bypassed: { ...b.bypassed, ...a.bypassed },
  };
}
