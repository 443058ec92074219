import assert from "node:assert/strict";
import { constants, PerformanceObserver } from "node:perf_hooks";
import { test } from "node:test";
import { countGarbage } from "./young-garbage.ts";

/** What Node says of a collection, which its types leave out. */
interface Collection {
  readonly detail: { readonly kind: number; readonly flags: number };
}

const MB = 1024 * 1024;
const { NODE_PERFORMANCE_GC_MINOR, NODE_PERFORMANCE_GC_FLAGS_FORCED } = constants;

test("every 4 MB of chunks the young generation is collected, and nothing older", async () => {
  const forced: number[] = [];
  const observer = new PerformanceObserver((seen) => {
    const collections = seen.getEntries() as unknown as readonly Collection[];
    for (const { kind, flags } of collections.map(({ detail }) => detail)) {
      if (flags & NODE_PERFORMANCE_GC_FLAGS_FORCED) forced.push(kind);
    }
  });
  observer.observe({ entryTypes: ["gc"] });
  const turn = () => new Promise((resolve) => setImmediate(resolve));
  countGarbage(4 * MB - 1);
  await turn();
  assert.deepEqual(forced, []);
  countGarbage(1);
  countGarbage(4 * MB);
  for (const end = performance.now() + 10_000; forced.length < 2 && performance.now() < end;) {
    await turn();
  }
  observer.disconnect();
  assert.deepEqual(forced, [NODE_PERFORMANCE_GC_MINOR, NODE_PERFORMANCE_GC_MINOR]);
});
