import type { Redis } from "iovalkey";
import type { BlobProblem, BlobStore } from "./blob-store.ts";
import type { StoreLimits } from "./eviction.ts";
import { MOST_KEY_BYTES, textOfKey } from "./key-text.ts";
import { openServer, optionalPackage, sharedKey } from "./server-store.ts";

const CONNECT_MS = 5000;
/** A command that is unanswered so long is not waited for: nobody waits longer for a block. */
const COMMAND_MS = 60_000;
/** Between two tries to reach a server that is gone, at most. */
const RETRY_MS = 5000;
const DEFAULT_PORT = 6379;

const keyOf = (name: string) => `daysix:${name}`;

/**
 * Blobs in a Valkey or Redis server. Its `maxmemory` and eviction bound them; a blob expires when it
 * has not been used for the age. What is asked in one turn of the event loop travels together.
 */
export class ValkeyBlobStore implements BlobStore {
  readonly key: Uint8Array;
  readonly #client: Redis;
  readonly #maxAgeMs: number;

  /** @param url `valkey://[[user]:password@]host[:port][/database]`; `valkeys:` over TLS */
  static open(this: void, url: URL, { maxAgeMs }: StoreLimits): Promise<ValkeyBlobStore> {
    return openServer(url, async () => {
      const { default: Valkey } = await optionalPackage("iovalkey", () => import("iovalkey"));
      const client = new Valkey.Redis({
        host: url.hostname.replace(/^\[|\]$/g, ""),
        port: Number(url.port || DEFAULT_PORT),
        db: Number(url.pathname.slice(1) || 0),
        ...(url.username && { username: decodeURIComponent(url.username) }),
        ...(url.password && { password: decodeURIComponent(url.password) }),
        ...(["valkeys:", "rediss:"].includes(url.protocol) && { tls: {} }),
        lazyConnect: true,
        enableAutoPipelining: true,
        // While the server is gone commands fail at once, and the guard bypasses it.
        enableOfflineQueue: false,
        maxRetriesPerRequest: 0,
        connectTimeout: CONNECT_MS,
        commandTimeout: COMMAND_MS,
        retryStrategy: (attempt) => Math.min(100 * 2 ** attempt, RETRY_MS),
      });
      // Afterwards the command that it befalls tells of an error.
      let cause: Error | undefined;
      client.on("error", (error: Error) => (cause = error));
      try {
        await client.connect();
        const key = await sharedKey(async (text) => {
          await client.setnx(keyOf("key"), text);
          return client.getrange(keyOf("key"), 0, MOST_KEY_BYTES - 1);
        });
        return new ValkeyBlobStore(client, key, maxAgeMs);
      } catch (error) {
        client.disconnect();
        throw cause ?? error;
      }
    });
  }

  private constructor(client: Redis, key: Uint8Array, maxAgeMs: number) {
    this.#client = client;
    this.key = key;
    this.#maxAgeMs = maxAgeMs;
  }

  async get(name: string, bytes: number, usedAt: number): Promise<Uint8Array | BlobProblem> {
    // One byte more tells content that is longer, however long it is.
    const [content] = await Promise.all([
      this.#client.getrangeBuffer(keyOf(name), 0, bytes),
      this.#use(name, usedAt),
    ]);
    if (content.length === 0) return "absent";
    return content.length === bytes ? content : "wrong size";
  }

  async put(name: string, content: Uint8Array, usedAt: number): Promise<void> {
    const value = Buffer.from(content.buffer, content.byteOffset, content.length);
    // What makes room may not remove the key, which is used at no other time; or else it is back at once.
    const kept = this.#client.setnx(keyOf("key"), textOfKey(this.key));
    await Promise.all([kept, this.#client.set(keyOf(name), value), this.#use(name, usedAt)]);
  }

  async touch(name: string, bytes: number, usedAt: number): Promise<boolean> {
    const [length] = await Promise.all([this.#client.strlen(keyOf(name)), this.#use(name, usedAt)]);
    return length === bytes;
  }

  async delete(name: string): Promise<void> {
    await this.#client.del(keyOf(name));
  }

  close(): void {
    this.#client.disconnect();
  }

  async #use(name: string, usedAt: number): Promise<void> {
    if (this.#maxAgeMs === Infinity) return;
    await this.#client.pexpireat(keyOf(name), Math.ceil(usedAt + this.#maxAgeMs));
  }
}
