import assert from "node:assert/strict";
import { test } from "node:test";
import type { StatusSnapshot } from "../src/gateway/status/status-snapshot.ts";
import { diskOf, poolOf } from "./cache-state.ts";

const counts = {
  ...{ hits: 1, misses: 2, lent: 1, written: 3, bytesRead: 0, bytesWritten: 100 },
  ...{ dropped: 1, late: 1, failed: 0, rejected: 2, bypassed: [] as string[] },
};

const status = (...caches: (Partial<typeof counts> | undefined)[]) => {
  const ranks = caches.map((change) => ({
    pages: { total: 10, inUse: 2, cached: 3 },
    ...(change && { contextCache: { ...counts, ...change } }),
  }));
  return { seconds: 2, units: [{ ranks }] } as unknown as StatusSnapshot;
};

test("the pool is that of all ranks", () => {
  assert.deepEqual(poolOf(status(undefined, undefined)), { total: 20, inUse: 4, cached: 6 });
});

test("a store is told of as all ranks see it, with what passes now", () => {
  assert.equal(diskOf([status(undefined)]), undefined);
  const disk = diskOf([status({}, {}), status({ bytesRead: 50, bypassed: ["writes"] }, {})]);
  assert.deepEqual(disk, {
    ...{ hits: 2, misses: 4, lent: 2, written: 6, troubles: 8, bytesWritten: 200 },
    ...{ reading: 25, writing: 0, bypassed: ["writes"] },
  });
  assert.equal(diskOf([status({ bytesRead: 50 })])?.reading, 0, "nobody looked before");
});
