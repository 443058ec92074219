import assert from "node:assert/strict";
import { test } from "node:test";
import type { EngineStats } from "../../engine/index.ts";
import { ContextCacheWatch } from "./context-cache-watch.ts";

type Figures = NonNullable<EngineStats["contextCache"]>;

const well: Figures = {
  ...{
    hits: 0,
    misses: 0,
    computed: 0,
    lent: 0,
    blockMicros: {},
    bytesRead: 0,
    written: 0,
    bytesWritten: 0,
  },
  ...{ dropped: 0, late: 0, failed: 0, rejected: {}, bypassed: {} },
};

/** A watch over ranks with these figures; what each look tells. */
function watch() {
  const lines: unknown[] = [];
  const tell = (...line: unknown[]) => void lines.push(line);
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

const back = ["the context cache is used again"];

test("a store that fails is told once, whichever ranks and ways it fails on, and once when it is back", () => {
  const look = watch();
  const bypassed = { writes: "no space" };
  const message = "the store of the context cache fails";
  assert.deepEqual(look({}, {}, undefined), []);
  assert.deepEqual(look({ failed: 1 }, { failed: 3, bypassed }), [
    [{ reason: "no space", failed: 4 }, message],
  ]);
  assert.deepEqual(look({ failed: 3, late: 2, bypassed }, { failed: 3, dropped: 9, bypassed }), []);
  const gone = { failed: 3, late: 2, dropped: 9 };
  assert.deepEqual(look(gone, gone), [], "it has not answered yet");
  assert.deepEqual(look({ ...gone, hits: 1 }, gone), [back]);
  assert.deepEqual(look({ ...gone, hits: 2 }, gone), []);
  assert.deepEqual(look({ ...gone, hits: 2, failed: 4 }, gone).length, 1);
});

test("a slow store is told once, and again if it fails", () => {
  const look = watch();
  const slow = "blocks of the context cache are computed: its store is slower than that";
  assert.deepEqual(look({ computed: 3, hits: 3 }), [], "most blocks come in time");
  assert.deepEqual(look({ computed: 6, hits: 4 }), [[{ computed: 6 }, slow]]);
  assert.deepEqual(look({ computed: 9, dropped: 4, hits: 5 }), []);
  assert.deepEqual(look({ computed: 9, dropped: 4, hits: 5, late: 1 }), [
    [{ late: 1 }, "the store of the context cache does not answer in time"],
  ]);
  assert.deepEqual(look({ computed: 12, dropped: 4, hits: 6, late: 1 }), []);
  assert.deepEqual(look({ computed: 13, dropped: 4, hits: 9, late: 1 }), [back]);
});

test("blocks that are no good are told when they begin to come", () => {
  const look = watch();
  const message = "blocks of the context cache were no good and are removed";
  assert.deepEqual(look({ rejected: { shape: 2 } }), [[{ rejected: 2 }, message]]);
  assert.deepEqual(look({ rejected: { shape: 2, key: 1 } }), []);
  assert.deepEqual(look({ rejected: { shape: 2, key: 1 }, hits: 1 }), []);
  assert.deepEqual(look({ rejected: { shape: 2, key: 2 }, hits: 1 }).length, 1);
});
