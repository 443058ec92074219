import type { BlobStore } from "./blob-store.ts";
import { DirectoryBlobStore } from "./directory-blob-store.ts";
import type { StoreLimits } from "./eviction.ts";
import type { FilePermits } from "./file-permits.ts";

/** Of stores that are servers: each module, and the package that it needs, is loaded when it is named. */
const servers = {
  valkey: async () => (await import("./valkey-blob-store.ts")).ValkeyBlobStore.open,
  s3: async () => (await import("./s3-blob-store.ts")).S3BlobStore.open,
} as const;

const schemes: Readonly<Record<string, keyof typeof servers>> = {
  ...{ "valkey:": "valkey", "valkeys:": "valkey", "redis:": "valkey", "rediss:": "valkey" },
  "s3:": "s3",
};

/** A server that a store's place names; undefined for a folder. @throws Error for other schemes */
export function storeUrl(place: string): URL | undefined {
  if (!/^[a-z0-9+.-]{2,}:\/\//i.test(place)) return undefined;
  const url = new URL(place);
  if (schemes[url.protocol]) return url;
  const known = Object.keys(schemes).map((scheme) => `${scheme}//`);
  throw new Error(`expected a folder, ${known.join(", ")}, got ${url.protocol}//`);
}

/**
 * Opens the store at a place: `valkey://host:port/database`, `s3://bucket/prefix`, or a folder.
 * @throws Error that names the place, without its password, and what is wrong there
 */
export async function openBlobStore(
  place: string,
  limits: StoreLimits,
  permits: FilePermits,
): Promise<BlobStore> {
  const url = storeUrl(place);
  if (!url) return DirectoryBlobStore.open(place, limits, permits);
  const open = await servers[schemes[url.protocol]]();
  return open(url, limits);
}
