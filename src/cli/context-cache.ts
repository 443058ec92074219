import type { Command } from "cac";
import type { EngineOptions } from "../engine/index.ts";
import { bytesOf, durationOf, textOf, UsageError } from "./arguments.ts";

type ContextCacheOptions = Pick<EngineOptions, "contextCache">;

/** Adds the options of the context cache to a command. */
export function withContextCache(command: Command): Command {
  return command
    .option("--cache-dir <dir>", "Folder to keep KV blocks in, which other nodes may share")
    .option("--cache-size <size>", "Bytes of blocks to keep (default: 10G)")
    .option("--cache-age <time>", "How long to keep blocks nobody uses (default: 7d)");
}

/** The engine's context cache as the options say; none without a folder. */
export function contextCacheOf(flags: Readonly<Record<string, unknown>>): ContextCacheOptions {
  const { cacheDir, cacheSize, cacheAge } = flags;
  if (cacheDir === undefined) {
    if (cacheSize !== undefined) throw new UsageError("--cache-size needs --cache-dir");
    if (cacheAge !== undefined) throw new UsageError("--cache-age needs --cache-dir");
    return {};
  }
  return {
    contextCache: {
      directory: textOf("cache-dir", cacheDir),
      limits: {
        maxBytes: bytesOf("cache-size", cacheSize ?? "10G"),
        maxAgeMs: durationOf("cache-age", cacheAge ?? "7d"),
      },
    },
  };
}
