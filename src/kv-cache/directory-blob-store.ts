import { randomUUID } from "node:crypto";
import { constants, type Stats } from "node:fs";
import { lstat, mkdir, open, readdir, rename, rm, utimes, type FileHandle } from "node:fs/promises";
import { join } from "node:path";
import { inTime, systemClock, type Clock } from "../cluster/index.ts";
import type { BlobProblem, BlobStore } from "./blob-store.ts";
import { FilePermits } from "./file-permits.ts";
import { openStoreKey } from "./store-key.ts";
import {
  evictions,
  expectToFit,
  isExpired,
  type StoredBlob,
  type StoreLimits,
} from "./eviction.ts";

const HOUR_MS = 3_600_000;
/** A temporary file this old was left by a writer that died. */
const ABANDONED_MS = HOUR_MS;
/** Expired blobs are looked for this often, or eight times in their life. */
const AGE_SWEEP_MS = HOUR_MS;

/** A directory whose server is gone may never answer. */
const OPEN_MS = 10_000;

/** Share of the limit that a writer fills between two scans, and that a scan leaves free for it. */
const SLACK = 0.05;

/** Blocks tell what was asked: they are the server's own. */
const FILE_MODE = 0o600;
const FOLDER_MODE = 0o700;
/** A pipe or a device in a file's place opens at once, and is told from a file before it is read. */
const READ_FLAGS = constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOFOLLOW;
/** What opening a link, a socket or a device nobody serves fails with. */
const NO_FILE = ["ELOOP", "EMLINK", "ENXIO", "ENODEV"];

const folderPattern = /^[0-9a-f]{2}$/;
const blobPattern = /^[0-9a-f]{64}\.kv$/;
const temporaryPattern = /^[0-9a-f]{64}\.kv\.[0-9a-f-]{36}\.tmp$/;

/**
 * Blobs as files, `ab/abcd….kv`, in a directory that other stores may share, on a network mount
 * too. A file appears by rename, its modification time is its last use, and files of other names
 * are left alone. Stores know of each other's writes only by scanning the directory, after every
 * 5 % of the limit they write themselves, so n of them may exceed it by (n − 1) × 5 %.
 */
export class DirectoryBlobStore implements BlobStore {
  readonly key: Uint8Array;
  readonly #directory: string;
  readonly #limits: StoreLimits;
  readonly #permits: FilePermits;
  /** Bytes written since the last scan; the first write scans. */
  #written = Infinity;
  #sweptAt = 0;
  #sweep: Promise<void> | undefined;

  /**
   * @throws Error naming the directory or its key, if files cannot be written and read there, or not
   * in time
   */
  static open(
    directory: string,
    limits: StoreLimits,
    permits = new FilePermits(),
    clock: Clock = systemClock,
  ): Promise<DirectoryBlobStore> {
    const opened = async () => {
      await proveWritable(directory);
      return new DirectoryBlobStore(directory, limits, permits, await openStoreKey(directory));
    };
    const late = () =>
      new Error(`cache directory ${directory} has not answered in ${OPEN_MS / 1000} s`);
    return inTime(opened(), clock, OPEN_MS, late);
  }

  private constructor(
    directory: string,
    limits: StoreLimits,
    permits: FilePermits,
    key: Uint8Array,
  ) {
    this.key = key;
    this.#directory = directory;
    this.#limits = limits;
    this.#permits = permits;
  }

  get(name: string, bytes: number, usedAt: number): Promise<Uint8Array | BlobProblem> {
    return this.#permits.run(() => this.#read(this.#path(name), bytes, usedAt));
  }

  async put(name: string, content: Uint8Array, usedAt: number): Promise<void> {
    expectToFit(content.length, this.#limits);
    await this.#makeRoom(content.length, usedAt);
    await this.#permits.run(() => this.#replace(this.#path(name), content, usedAt));
  }

  touch(name: string, bytes: number, usedAt: number): Promise<boolean> {
    return this.#permits.run(async () => {
      const path = this.#path(name);
      const found = await describe(path);
      if (!found?.isFile() || found.size !== bytes) return false;
      if (isExpired(lastUse(found), usedAt, this.#limits)) return false;
      await utimes(path, usedAt / 1000, usedAt / 1000).catch(() => undefined);
      return true;
    });
  }

  delete(name: string): Promise<void> {
    return this.#permits.run(() => rm(this.#path(name), { force: true }));
  }

  #path(name: string): string {
    return join(this.#directory, name.slice(0, 2), `${name}.kv`);
  }

  async #read(path: string, bytes: number, usedAt: number): Promise<Uint8Array | BlobProblem> {
    const file = await openToRead(path);
    if (typeof file === "string") return file;
    try {
      const found = await file.stat();
      if (!found.isFile()) return "no file";
      if (isExpired(lastUse(found), usedAt, this.#limits)) return "absent";
      if (found.size !== bytes) return "wrong size";
      const content = Buffer.allocUnsafeSlow(bytes);
      const { bytesRead } = await file.read(content, 0, bytes, 0);
      if (bytesRead < bytes) return "wrong size";
      // Another user's file cannot be marked as used; it is read all the same.
      await file.utimes(usedAt / 1000, usedAt / 1000).catch(() => undefined);
      return content;
    } finally {
      await file.close();
    }
  }

  async #replace(path: string, content: Uint8Array, usedAt: number): Promise<void> {
    const temporary = `${path}.${randomUUID()}.tmp`;
    try {
      await this.#write(temporary, content, usedAt);
      await rename(temporary, path);
    } catch (error) {
      await rm(temporary, { force: true });
      throw error;
    }
  }

  /** The folder, or the whole directory, may not be there, or no longer. */
  async #write(path: string, content: Uint8Array, usedAt: number): Promise<void> {
    const create = () => open(path, "wx", FILE_MODE);
    const file = await create().catch(async (error: unknown) => {
      if (!isMissing(error)) throw error;
      await mkdir(join(path, ".."), { recursive: true, mode: FOLDER_MODE });
      return create();
    });
    try {
      await file.writeFile(content);
      await file.utimes(usedAt / 1000, usedAt / 1000);
    } finally {
      await file.close();
    }
  }

  /** Sweeps, once for all writers that wait, when enough was written or the time has come. */
  async #makeRoom(bytes: number, now: number): Promise<void> {
    const { maxBytes, maxAgeMs } = this.#limits;
    const slack = Math.max(maxBytes * SLACK, bytes);
    const due = now - this.#sweptAt > Math.min(maxAgeMs / 8, AGE_SWEEP_MS);
    if (due || this.#written + bytes > slack) this.#sweep ??= this.#removeOld(slack, now);
    await this.#sweep;
    this.#written += bytes;
  }

  async #removeOld(room: number, now: number): Promise<void> {
    this.#sweptAt = now;
    const names = await this.#permits.run(() => namesIn(this.#directory));
    const folders = names.filter((name) => folderPattern.test(name));
    const blobs = await Promise.all(folders.map((folder) => this.#scan(folder, now)));
    const evicted = evictions(blobs.flat(), this.#limits, room, now);
    await Promise.all(evicted.map(({ name }) => this.delete(name).catch(() => undefined)));
    this.#written = 0;
    this.#sweep = undefined;
  }

  /** The blobs of a folder; temporary files nobody will rename are removed. */
  #scan(folder: string, now: number): Promise<StoredBlob[]> {
    return this.#permits.run(async () => {
      const path = join(this.#directory, folder);
      const blobs: StoredBlob[] = [];
      for (const file of await namesIn(path)) {
        const found = await describe(join(path, file)).catch(() => undefined);
        if (!found) continue;
        if (temporaryPattern.test(file) && now - found.mtimeMs > ABANDONED_MS) {
          await rm(join(path, file), { force: true }).catch(() => undefined);
        }
        const name = file.slice(0, 64);
        if (!blobPattern.test(file)) continue;
        blobs.push({ name, bytes: found.size, usedAt: lastUse(found) });
      }
      return blobs;
    });
  }
}

async function proveWritable(directory: string): Promise<void> {
  const probe = join(directory, `${randomUUID()}.tmp`);
  try {
    await mkdir(directory, { recursive: true, mode: FOLDER_MODE });
    await (await open(probe, "wx", FILE_MODE)).close();
    await rm(probe);
  } catch (cause) {
    const { message } = cause as Error;
    throw new Error(`cache directory ${directory} is not writable: ${message}`, { cause });
  }
}

/** The open file, or why there is none. */
async function openToRead(path: string): Promise<FileHandle | BlobProblem> {
  try {
    return await open(path, READ_FLAGS);
  } catch (error) {
    if (isMissing(error)) return "absent";
    if (NO_FILE.includes((error as NodeJS.ErrnoException).code ?? "")) return "no file";
    throw error;
  }
}

/** Of the name itself, wherever a link may point; undefined if nothing is there. */
async function describe(path: string): Promise<Stats | undefined> {
  return lstat(path).catch((error: unknown) => {
    if (isMissing(error)) return undefined;
    throw error;
  });
}

/** Milliseconds; file systems keep them in other units. */
function lastUse({ mtimeMs }: Stats): number {
  return Math.round(mtimeMs);
}

function isMissing(error: unknown): boolean {
  return (error as NodeJS.ErrnoException).code === "ENOENT";
}

async function namesIn(directory: string): Promise<string[]> {
  return readdir(directory).catch(() => []);
}
