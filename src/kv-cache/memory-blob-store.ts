import { randomBytes } from "node:crypto";
import type { BlobProblem, BlobStore } from "./blob-store.ts";
import {
  evictions,
  expectToFit,
  isExpired,
  type StoredBlob,
  type StoreLimits,
} from "./eviction.ts";

interface HeldBlob extends StoredBlob {
  readonly content: Uint8Array;
}

/** Blobs in this process's memory. */
export class MemoryBlobStore implements BlobStore {
  readonly key: Uint8Array = randomBytes(32);
  readonly #limits: StoreLimits;
  readonly #blobs = new Map<string, HeldBlob>();
  #bytes = 0;

  constructor(limits: StoreLimits) {
    this.#limits = limits;
  }

  get bytes(): number {
    return this.#bytes;
  }

  async get(name: string, bytes: number, usedAt: number): Promise<Uint8Array | BlobProblem> {
    const blob = this.#use(name, usedAt);
    if (!blob) return "absent";
    return blob.bytes === bytes ? blob.content : "wrong size";
  }

  async put(name: string, content: Uint8Array, usedAt: number): Promise<void> {
    const { length } = content;
    expectToFit(length, this.#limits);
    await this.delete(name);
    if (this.#bytes + length > this.#limits.maxBytes) {
      const gone = evictions([...this.#blobs.values()], this.#limits, length, usedAt);
      for (const blob of gone) await this.delete(blob.name);
    }
    this.#blobs.set(name, { name, content, bytes: length, usedAt });
    this.#bytes += length;
  }

  async touch(name: string, bytes: number, usedAt: number): Promise<boolean> {
    return this.#use(name, usedAt)?.bytes === bytes;
  }

  async delete(name: string): Promise<void> {
    this.#bytes -= this.#blobs.get(name)?.bytes ?? 0;
    this.#blobs.delete(name);
  }

  #use(name: string, usedAt: number): HeldBlob | undefined {
    const blob = this.#blobs.get(name);
    if (!blob || isExpired(blob.usedAt, usedAt, this.#limits)) return undefined;
    const used = { ...blob, usedAt };
    this.#blobs.set(name, used);
    return used;
  }
}
