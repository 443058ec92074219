import assert from "node:assert/strict";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { DirectoryBlobStore, MemoryBlobStore } from "../../kv-cache/index.ts";
import { repositoryRoot } from "../../model/fixtures.ts";
import { REPLAY_BLOCK_BYTES, replayTrace } from "./context-cache-replay.ts";
import { readMooncakeTrace } from "../mooncake.ts";
import { infiniteCacheHits, lruCacheHits, type PrefixHits } from "./prefix-hits.ts";

const scratch = mkdtempSync(join(tmpdir(), "daysix-replay-"));
after(() => rmSync(scratch, { recursive: true, force: true }));

const trace = join(repositoryRoot, "../shared/data/mooncake/conversation_trace_0-29min.jsonl");
const skip = existsSync(trace) ? false : "../shared/data/mooncake is not here";

/** Requests of the trace that the test has time for. */
const REQUESTS = 250;

const share = ({ hits, blocks }: PrefixHits) => hits / blocks;

async function replayOnDisk(capacity: number) {
  const requests = (await readMooncakeTrace(trace)).slice(0, REQUESTS);
  const limits = { maxBytes: capacity * REPLAY_BLOCK_BYTES, maxAgeMs: 1e12 };
  const store = await DirectoryBlobStore.open(join(scratch, `${capacity}`), limits);
  const replay = await replayTrace(requests, store);
  return { replay, prompts: requests.map(({ blocks }) => blocks) };
}

test("a large store answers what an infinite cache would", { skip }, async () => {
  const { replay, prompts } = await replayOnDisk(1e6);
  const ideal = infiniteCacheHits(prompts);
  assert.equal(replay.blocks, ideal.blocks);
  assert.ok(Math.abs(share(replay) - share(ideal)) < 0.01, `${share(replay)}, ${share(ideal)}`);
  assert.deepEqual([replay.stats.dropped, replay.stats.failed], [0, 0]);
  assert.ok(replay.stats.written <= new Set(prompts.flat()).size, "no block is written twice");
});

test("a small store answers what an LRU cache of its size would", { skip }, async () => {
  const capacity = 1000;
  const { replay, prompts } = await replayOnDisk(capacity);
  const ideal = lruCacheHits(prompts, capacity);
  assert.ok(share(ideal) < share(infiniteCacheHits(prompts)) - 0.02, "the store is small");
  assert.ok(Math.abs(share(replay) - share(ideal)) < 0.01, `${share(replay)}, ${share(ideal)}`);
});

test("a prompt hits up to its first missing block, and no further", async () => {
  const prompts = [
    [1, 2, 3],
    [1, 2, 4, 3],
    [5, 2, 3],
  ];
  const requests = prompts.map((blocks, at) => ({ at, blocks }));
  const store = new MemoryBlobStore({ maxBytes: 1e6, maxAgeMs: 1e9 });
  const { blocks, hits } = await replayTrace(requests, store);
  assert.deepEqual({ blocks, hits }, { blocks: 10, hits: 2 });
  assert.deepEqual(infiniteCacheHits(prompts.slice(0, 2)), { blocks: 7, hits: 2 });
  assert.deepEqual(lruCacheHits([[1], [2], [1], [3], [2]], 2), { blocks: 5, hits: 1 });
});

test("a line that is no request is named", { skip }, async () => {
  await assert.rejects(readMooncakeTrace(join(trace, "../SOURCE.md")), /SOURCE\.md: line 1 is not/);
});
