import type { Command } from "cac";
import type { EngineOptions } from "../engine/index.ts";
import { storeUrl } from "../kv-cache/index.ts";
import { bytesOf, durationOf, textOf, UsageError } from "./arguments.ts";

type ContextCacheOptions = Pick<EngineOptions, "contextCache">;

/** Adds the options of the context cache to a command. */
export function withContextCache(command: Command): Command {
  return command
    .option(
      "--cache <place>",
      "Where KV blocks are kept, which other servers may share: a folder, valkey://host, s3://bucket/prefix; off: nowhere, as without it",
    )
    .option("--cache-dir <dir>", "The same, for a folder")
    .option("--cache-size <size>", "Bytes of blocks to keep in a folder (default: 10G)")
    .option("--cache-age <time>", "How long to keep blocks nobody uses (default: 7d)");
}

/** The engine's context cache as the options say; none without a place. */
export function contextCacheOf(flags: Readonly<Record<string, unknown>>): ContextCacheOptions {
  const { cacheSize, cacheAge } = flags;
  const store = placeOf(flags);
  if (store === undefined) {
    if (cacheSize !== undefined) throw new UsageError("--cache-size needs --cache");
    if (cacheAge !== undefined) throw new UsageError("--cache-age needs --cache");
    return {};
  }
  if (isServer(store) && cacheSize !== undefined) {
    throw new UsageError("--cache-size is a folder's: a server has bounds of its own");
  }
  return {
    contextCache: {
      store,
      limits: {
        maxBytes: bytesOf("cache-size", cacheSize ?? "10G"),
        maxAgeMs: durationOf("cache-age", cacheAge ?? "7d"),
      },
    },
  };
}

function placeOf({ cache, cacheDir }: Readonly<Record<string, unknown>>): string | undefined {
  if (cache !== undefined && cacheDir !== undefined) {
    throw new UsageError("--cache-dir: expected one of --cache and --cache-dir");
  }
  if (cacheDir !== undefined) return textOf("cache-dir", cacheDir);
  return cache === undefined || cache === "off" ? undefined : textOf("cache", cache);
}

function isServer(place: string): boolean {
  try {
    return storeUrl(place) !== undefined;
  } catch (error) {
    throw new UsageError(`--cache: ${(error as Error).message}`);
  }
}
