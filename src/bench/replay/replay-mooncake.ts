#!/usr/bin/env node
/**
 * `npm run replay:mooncake [-- FOLDER]`: both Mooncake traces, all requests, through the context
 * cache on disk. Prints the share of prompt blocks it answered beside an infinite cache's, and with
 * room for a tenth of the blocks beside an LRU cache's of that size.
 */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DirectoryBlobStore } from "../../kv-cache/index.ts";
import { REPLAY_BLOCK_BYTES, replayTrace } from "./context-cache-replay.ts";
import { readMooncakeTrace, type TraceRequest } from "../mooncake.ts";
import { infiniteCacheHits, lruCacheHits, type PrefixHits } from "./prefix-hits.ts";

const traces = ["conversation_trace_0-29min.jsonl", "synthetic_trace.jsonl"];
const [folder = "../shared/data/mooncake"] = process.argv.slice(2);

const percent = ({ hits, blocks }: PrefixHits) => `${((100 * hits) / blocks).toFixed(2)} %`;

async function replayOnDisk(requests: readonly TraceRequest[], capacity: number): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), "daysix-replay-"));
  try {
    const limits = { maxBytes: capacity * REPLAY_BLOCK_BYTES, maxAgeMs: Infinity };
    const started = performance.now();
    const replay = await replayTrace(requests, await DirectoryBlobStore.open(directory, limits));
    const seconds = ((performance.now() - started) / 1000).toFixed(0);
    const { written, hits, dropped, failed, rejected } = replay.stats;
    return (
      `${percent(replay)} (read ${hits} blocks, wrote ${written}, dropped ${dropped}, ` +
      `failed ${failed}, rejected ${Object.keys(rejected).length}; ${seconds} s)`
    );
  } finally {
    await rm(directory, { recursive: true });
  }
}

for (const name of traces) {
  const requests = await readMooncakeTrace(join(folder, name));
  const prompts = requests.map(({ blocks }) => blocks);
  const distinct = new Set(prompts.flat()).size;
  const small = Math.floor(distinct / 10);
  console.log(`${name}: ${requests.length} requests, ${distinct} distinct blocks`);
  console.log(`  infinite cache      ${percent(infiniteCacheHits(prompts))}`);
  console.log(`  large store         ${await replayOnDisk(requests, 2 * distinct)}`);
  console.log(`  LRU, ${small} blocks    ${percent(lruCacheHits(prompts, small))}`);
  console.log(`  store of that size  ${await replayOnDisk(requests, small)}`);
}
