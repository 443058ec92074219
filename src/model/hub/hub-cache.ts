/**
 * The folder in which Hugging Face's own tools keep what they downloaded:
 * `models--org--name/{blobs/CHECKSUM, snapshots/COMMIT/FILE → blob, refs/REVISION with the commit}`.
 */
import { mkdir, readFile, rename, rm, stat, symlink, writeFile } from "node:fs/promises";
import { homedir } from "node:os";
import { dirname, join, relative } from "node:path";
import type { HubModel } from "./hub-id.ts";

export type Environment = Readonly<Record<string, string | undefined>>;

/** Where the hub is, and where what comes from it is kept. */
export interface HubPlaces {
  readonly endpoint: string;
  readonly cache: string;
  /** Holds a token, perhaps. */
  readonly tokenFile: string;
  readonly token: string | undefined;
}

/** Where a user's programs keep what they can make again. A variable that is empty says nothing. */
export function userCaches(environment: Environment): string {
  return environment["XDG_CACHE_HOME"] || join(homedir(), ".cache");
}

/** By the variables that Hugging Face's own tools read. */
export function hubPlaces(environment: Environment): HubPlaces {
  const home = environment["HF_HOME"] || join(userCaches(environment), "huggingface");
  return {
    endpoint: (environment["HF_ENDPOINT"] || "https://huggingface.co").replace(/\/+$/, ""),
    cache: environment["HF_HUB_CACHE"] || join(home, "hub"),
    tokenFile: environment["HF_TOKEN_PATH"] || join(home, "token"),
    token: environment["HF_TOKEN"] || undefined,
  };
}

/** A commit of the hub. */
export const COMMIT = /^[0-9a-f]{40}$/;

/** A model's part of the cache. */
export class CachedModel {
  readonly folder: string;
  readonly #revision: string;

  constructor(cache: string, { organisation, name, revision }: HubModel) {
    this.folder = join(cache, `models--${organisation}--${name}`);
    this.#revision = revision;
  }

  /** The folder of the revision's files, if all of them were downloaded once. */
  async find(): Promise<string | undefined> {
    const commit = COMMIT.test(this.#revision)
      ? this.#revision
      : (await readFile(this.#ref, "utf8").catch(() => "")).trim();
    if (!COMMIT.test(commit)) return undefined;
    const snapshot = this.snapshot(commit);
    return (await isThere(snapshot)) ? snapshot : undefined;
  }

  snapshot(commit: string): string {
    return join(this.folder, "snapshots", commit);
  }

  /** Where files' bytes lie, each under its checksum once it is complete. */
  get blobs(): string {
    return join(this.folder, "blobs");
  }

  blob(checksum: string): string {
    return join(this.blobs, checksum);
  }

  /** Puts a complete file into a commit's folder. */
  async link(folder: string, path: string, checksum: string): Promise<void> {
    const at = join(folder, path);
    await mkdir(dirname(at), { recursive: true });
    await rm(at, { force: true });
    await symlink(relative(dirname(at), this.blob(checksum)), at);
  }

  /** Files are linked in a folder beside the snapshots, which becomes one when all are there. */
  async publish(commit: string, fill: (folder: string) => Promise<void>): Promise<string> {
    const target = this.snapshot(commit);
    if (await isThere(target)) await fill(target);
    else {
      const part = `${target}.part`;
      await mkdir(part, { recursive: true });
      await fill(part);
      await rename(part, target);
    }
    if (COMMIT.test(this.#revision)) return target;
    await mkdir(dirname(this.#ref), { recursive: true });
    await writeFile(this.#ref, commit);
    return target;
  }

  get #ref(): string {
    return join(this.folder, "refs", this.#revision);
  }
}

const isThere = (path: string) =>
  stat(path).then(
    () => true,
    () => false,
  );
