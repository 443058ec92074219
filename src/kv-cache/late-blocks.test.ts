import assert from "node:assert/strict";
import { test } from "node:test";
import { ManualClock } from "../cluster/fixtures.ts";
import { createStoredRows, PAGE_TOKENS, precisions } from "../kernels/index.ts";
import type { BlobProblem } from "./blob-store.ts";
import { ContextCache } from "./context-cache.ts";
import { MemoryBlobStore } from "./memory-blob-store.ts";
import { BlockKeys } from "./prefix.ts";

/** A clock that moves when told, beside the event loop's own turns. */
class TurningClock extends ManualClock {
  override soon(callback: () => void): void {
    setImmediate(callback);
  }
}

/** A millisecond a token is assumed of who computes, and what is under way is waited for a little longer. */
const patienceMs = PAGE_TOKENS + 250;

/** A rank waits for the one block of a prompt; its clock, what answers, and what became of the block. */
function awaitBlock() {
  const clock = new TurningClock();
  const store = new MemoryBlobStore({ maxBytes: 1e6, maxAgeMs: 1e9 });
  let answer!: (found: BlobProblem) => void;
  store.get = () => new Promise((resolve) => (answer = resolve));
  const kv = { width: 1, layers: [{ entries: createStoredRows(precisions.f32.kv, PAGE_TOKENS) }] };
  const identity = { modelHash: "0".repeat(64), modelBytes: "sample", policy: "f32" } as const;
  const cache = new ContextCache({
    ...{ store, kv, clock, pages: 1 },
    identity: { ...identity, bits: "common", numericsVersion: 1 },
  });
  const keys = new BlockKeys("t").upTo(Array.from({ length: PAGE_TOKENS }, () => 1));
  const loaded = cache.load({ keys, pages: [0], first: 0 }, new AbortController().signal);
  const outcome = async () => {
    await loaded;
    return { missing: cache.stats.misses, computed: cache.stats.computed };
  };
  return { clock, answer, outcome };
}

for (const stallMs of [0, 20, 5000]) {
  test(`what came while a rank was held up ${stallMs} ms too long is heard, a turn later too`, async () => {
    const { clock, answer, outcome } = awaitBlock();
    clock.freeze(patienceMs + stallMs);
    clock.advance(0);
    // After the turn in which time was up: what was read then is told whole in the next.
    setImmediate(() => answer("absent"));
    assert.deepEqual(await outcome(), { missing: 1, computed: 0 });
  });
}

test("a block that does not come in time is computed, without more waiting", async () => {
  const { clock, outcome } = awaitBlock();
  clock.freeze(patienceMs + 5000);
  clock.advance(0);
  assert.deepEqual(await outcome(), { missing: 0, computed: 1 });
});
