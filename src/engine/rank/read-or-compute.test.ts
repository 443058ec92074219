import assert from "node:assert/strict";
import { test } from "node:test";
import { ManualClock } from "../../cluster/fixtures.ts";
import { systemClock, type Clock } from "../../cluster/index.ts";
import { createKernels } from "../../kernels/index.ts";
import { MemoryBlobStore, type BlobStore } from "../../kv-cache/index.ts";
import { tinyFixtures } from "../../model/fixtures.ts";
import { loadModel, modelIdentity, numericIdentity } from "../../model/index.ts";
import { answer, hits, request } from "../api/fixtures.ts";
import type { GenerationEvent } from "../messages.ts";
import { EngineCore } from "./core.ts";
import { nextTurn, runToEnd } from "./fixtures.ts";

const [fixture] = tinyFixtures().filter(({ name }) => name === "v3");
const promptOf = (length: number, from: number) =>
  Array.from({ length }, (_, i) => fixture.tokens[(from + i) % fixture.tokens.length]);

const kernels = createKernels();
const model = await loadModel(fixture.directory, { kernels, policy: "f32", maxRows: 64 });
const identity = numericIdentity(await modelIdentity(fixture.directory, "sample"), {
  ...{ kernels, policy: "f32" },
});
const createCore = (store: BlobStore, clock: Clock) =>
  new EngineCore({ model, pages: 16, contextCache: { store, identity, clock } });

test("what a slow store has is computed, and what a quick one has is read, by what both take", async () => {
  const warm = new MemoryBlobStore({ maxBytes: 1e8, maxAgeMs: 1e9 });
  const kinds = [0, 40, 90, 7].map((from) => request(promptOf(186, from), { maxTokens: 2 }));
  const expected = await runToEnd(createCore(warm, systemClock), kinds);
  for (const [readMs, expectedHits] of [
    [5, 128],
    [1000, 0],
  ]) {
    const clock = new ManualClock();
    const store = delayed(warm, clock, readMs);
    const core = createCore(store, clock);
    for (const [i, one] of kinds.entries()) {
      const told: GenerationEvent[] = [];
      core.submit(i, one);
      while (!core.idle) {
        const step = core.step();
        const over = new AbortController();
        void step.then(() => over.abort());
        for (; !over.signal.aborted; await nextTurn()) if (store.waits > 0) clock.advanceToNext();
        told.push(...(await step).map(({ event }) => event));
      }
      assert.deepEqual(answer(told), answer(expected[i]));
      assert.equal(hits(told), expectedHits, `${readMs} ms`);
    }
    const { computed = 0, misses } = core.stats.contextCache ?? {};
    assert.deepEqual([computed, misses], [expectedHits === 0 ? 2 * kinds.length : 0, 0]);
  }
});

/** A store that takes nothing, and whose reads take so many milliseconds of a clock. */
function delayed(store: BlobStore, clock: Clock, ms: number) {
  return {
    ...(store.key && { key: store.key }),
    put: async () => undefined,
    touch: async () => true,
    delete: async () => undefined,
    /** Reads that are under way. */
    waits: 0,
    async get(...asked: Parameters<BlobStore["get"]>) {
      this.waits++;
      await new Promise<void>((resolve) => clock.after(ms, resolve));
      this.waits--;
      return store.get(...asked);
    },
  };
}
