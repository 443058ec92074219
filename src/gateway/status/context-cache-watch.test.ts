import assert from "node:assert/strict";
import { test } from "node:test";
import type { EngineStats } from "../../engine/index.ts";
import { ContextCacheWatch } from "./context-cache-watch.ts";

type Figures = NonNullable<EngineStats["contextCache"]>;

const well: Figures = {
  ...{ hits: 0, misses: 0, computed: 0, bytesRead: 0, written: 0, bytesWritten: 0 },
  ...{ dropped: 0, late: 0, failed: 0, rejected: {}, bypassed: {} },
};

/** A watch over ranks with these figures; what each look tells. */
function watch() {
  const lines: unknown[] = [];
  const tell = (facts: object, message: string) => void lines.push([facts, message]);
  const cache = new ContextCacheWatch({ info: tell, warn: tell } as never);
  return (...ranks: (Partial<Figures> | undefined)[]) => {
    cache.look(
      ranks.map(
        (change) => (change ? { contextCache: { ...well, ...change } } : {}) as EngineStats,
      ),
    );
    return lines.splice(0);
  };
}

test("a store that is bypassed is told once, and once when it is back", () => {
  const look = watch();
  const bypassed = { writes: "no space" };
  assert.deepEqual(look({}, {}, undefined), []);
  assert.deepEqual(look({}, { bypassed }), [
    [{ rank: 1, reason: "no space" }, "the context cache is not written for now"],
  ]);
  assert.deepEqual(look({}, { bypassed: { writes: "still no space" } }), []);
  assert.deepEqual(look({}, {}), [[{ rank: 1 }, "the context cache is written again"]]);
});

test("a trouble is told when it begins, not while it goes on", () => {
  const look = watch();
  const message = "blocks of the context cache were no good and are removed";
  const first = { rejected: { shape: 2 } };
  assert.deepEqual(look(first), [[{ rank: 0, ...first }, message]]);
  assert.deepEqual(look({ rejected: { shape: 2, key: 1 } }), []);
  assert.deepEqual(look({ rejected: { shape: 2, key: 1 } }), []);
  const later = { rejected: { shape: 2, key: 2 } };
  assert.deepEqual(look(later), [[{ rank: 0, ...later }, message]]);
  assert.equal(look({ ...later, late: 1, failed: 1, dropped: 1 }).length, 3);
});
