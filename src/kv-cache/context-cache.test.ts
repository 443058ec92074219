import assert from "node:assert/strict";
import {
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import fc from "fast-check";
import { ManualClock } from "../cluster/fixtures.ts";
import { createStoredRows, PAGE_TOKENS, precisions, type Policy } from "../kernels/index.ts";
import type { KvPool, NumericIdentity } from "../model/index.ts";
import type { BlobStore } from "./blob-store.ts";
import { ContextCache, type ContextCacheOptions } from "./context-cache.ts";
import { DirectoryBlobStore } from "./directory-blob-store.ts";
import { MemoryBlobStore } from "./memory-blob-store.ts";
import { BlockKeys } from "./prefix.ts";

const scratch = mkdtempSync(join(tmpdir(), "daysix-context-cache-"));
after(() => rmSync(scratch, { recursive: true, force: true }));
let directories = 0;

const limits = { maxBytes: 1e8, maxAgeMs: 1e9 };
const memory = () => new MemoryBlobStore(limits);
const live = () => new AbortController().signal;

const identity: NumericIdentity = {
  modelHash: "0".repeat(64),
  modelBytes: "sample",
  policy: "f32",
  bits: "common",
  numericsVersion: 1,
};

const PAGES = 8;
const WIDTH = 5;
const LAYERS = 3;

/** A rank's pool, and the cache beside it. */
function createRank(store: BlobStore, change: Partial<ContextCacheOptions> = {}) {
  const policy: Policy = change.identity?.policy ?? "f32";
  const kv: KvPool = {
    width: WIDTH,
    layers: Array.from({ length: LAYERS }, () => ({
      entries: createStoredRows(precisions[policy].kv, PAGES * PAGE_TOKENS * WIDTH),
    })),
  };
  const options = { store, identity, now: () => 1000, ...change, kv, pages: PAGES };
  return { kv, cache: new ContextCache(options) };
}

const pageOf = (kv: KvPool, page: number) =>
  kv.layers.map(({ entries }) => {
    const size = PAGE_TOKENS * WIDTH;
    return [...entries.subarray(page * size, (page + 1) * size)];
  });

/** Values of their own for every place of a page. */
function fillPage(kv: KvPool, page: number, seed: number): void {
  const size = PAGE_TOKENS * WIDTH;
  kv.layers.forEach(({ entries }, layer) => {
    for (let i = 0; i < size; i++) entries[page * size + i] = seed * 1000 + layer * 320 + i;
  });
}

const keys = new BlockKeys("t").upTo(Array.from({ length: 6 * PAGE_TOKENS }, (_, i) => i));

/** Saves the blocks of `keys`, block i from page i; what the pages held. */
async function saveAll({ kv, cache }: ReturnType<typeof createRank>) {
  keys.forEach((key, i) => {
    fillPage(kv, i, i);
    cache.save(key, i, i);
  });
  await cache.flush();
  return keys.map((_, i) => pageOf(kv, i));
}

/** Loads all of `keys`, in order, to pages 2, 3, … and 0, 1. */
async function loadAll({ kv, cache }: ReturnType<typeof createRank>, signal = live()) {
  const pages = keys.map((_, i) => (i + 2) % PAGES);
  const count = await cache.load({ keys, pages, first: 0 }, signal);
  return pages.slice(0, count).map((page) => pageOf(kv, page));
}

for (const policy of ["f32", "w8a16"] as const) {
  test(`${policy}: blocks come back bit for bit, in another pool's other pages`, async () => {
    const store = memory();
    const mine = { ...identity, policy };
    const saved = await saveAll(createRank(store, { identity: mine }));
    const reader = createRank(store, { identity: mine });
    assert.deepEqual(await loadAll(reader), saved);
    assert.deepEqual(pageOf(reader.kv, 1), pageOf(createRank(store, { identity: mine }).kv, 1));
    const { hits, misses, bytesRead, rejected } = reader.cache.stats;
    assert.deepEqual([hits, misses, rejected], [6, 0, {}]);
    const file = 128 + LAYERS * PAGE_TOKENS * WIDTH * (policy === "f32" ? 4 : 2);
    assert.equal(bytesRead, 6 * file);
  });
}

test("a page may change as soon as it is saved", async () => {
  const rank = createRank(memory());
  fillPage(rank.kv, 0, 1);
  const before = pageOf(rank.kv, 0);
  rank.cache.save(keys[0], 0, 0);
  fillPage(rank.kv, 0, 2);
  await rank.cache.flush();
  const [loaded] = await loadAll(rank);
  assert.deepEqual(loaded, before);
});

test("a run ends at the first block that is not there", async () => {
  for (const missing of keys.keys()) {
    const store = memory();
    const rank = createRank(store);
    keys.forEach((key, i) => {
      if (i !== missing) rank.cache.save(key, i, i);
    });
    await rank.cache.flush();
    assert.equal((await loadAll(rank)).length, missing);
    const { hits, misses } = rank.cache.stats;
    assert.deepEqual([hits, misses], [missing, keys.length - missing]);
  }
});

test("a block is written once, by one rank or by two, however often it is saved", async () => {
  const store = memory();
  const [one, two] = [createRank(store), createRank(store)];
  for (let i = 0; i < 3; i++) one.cache.save(keys[0], 0, 0);
  await one.cache.flush();
  one.cache.save(keys[0], 0, 0);
  two.cache.save(keys[0], 0, 0);
  await Promise.all([one.cache.flush(), two.cache.flush()]);
  assert.deepEqual([one.cache.stats.written, two.cache.stats.written], [1, 0]);
});

test("a store that is too slow costs blocks, not memory", async () => {
  const store = memory();
  let release!: () => void;
  const released = new Promise<void>((resolve) => (release = resolve));
  const put = store.put.bind(store);
  store.put = async (...content) => {
    await released;
    await put(...content);
  };
  const fileBytes = 128 + LAYERS * PAGE_TOKENS * WIDTH * 4;
  const rank = createRank(store, { queueBytes: 2.5 * fileBytes });
  keys.forEach((key, i) => rank.cache.save(key, i, i));
  assert.equal(rank.cache.stats.dropped, 4);
  release();
  await rank.cache.flush();
  assert.equal(rank.cache.stats.written, 2);
  rank.cache.save(keys[2], 2, 2);
  await rank.cache.flush();
  assert.equal((await loadAll(rank)).length, 3);
});

test("a store that fails is a store without the block", async () => {
  const store = memory();
  const rank = createRank(store);
  store.put = () => Promise.reject(new Error("no space left on device"));
  for (const i of [0, 1, 2]) rank.cache.save(keys[i], i, i);
  await rank.cache.flush();
  assert.deepEqual([rank.cache.stats.failed, rank.cache.stats.written], [3, 0]);
  store.get = () => Promise.reject(new Error("input/output error"));
  assert.deepEqual(await loadAll(rank), []);
  assert.equal(rank.cache.stats.failed, 4);
  store.get = async () => "no file";
  store.delete = () => Promise.reject(new Error("read-only file system"));
  assert.deepEqual(await loadAll(rank), []);
  assert.deepEqual(rank.cache.stats.rejected, { "no file": 1 });
});

test("blocks over the store's limit fail, which is said once, and are not counted as written", async () => {
  const clock = new ManualClock();
  const rank = createRank(new MemoryBlobStore({ maxBytes: 1000, maxAgeMs: 1e9 }), { clock });
  const reasons = new Set<string | undefined>();
  for (let round = 0; round < 5; round++) {
    await saveAll(rank);
    reasons.add(rank.cache.stats.bypassed.writes);
    assert.deepEqual(await loadAll(rank), []);
    clock.advance(20_000);
  }
  const { written, bytesWritten, failed, dropped } = rank.cache.stats;
  assert.deepEqual([written, bytesWritten, failed + dropped], [0, 0, 30]);
  // Those of the first round, and then one each time that the store is tried again.
  assert.ok(failed <= 6 + 4, `${failed} failed`);
  const last = "a block of 3968 bytes is over the store's limit of 1000";
  assert.deepEqual([...reasons], [`3 writes in a row failed, the last: ${last}`]);
});

const never = new Promise<never>(() => undefined);
const hung: BlobStore = {
  key: new Uint8Array(32),

  get: () => never,
  put: () => never,
  touch: () => never,
  delete: () => never,
};

test("a store that never answers costs each load a while, then none, until it is tried again", async () => {
  const clock = new ManualClock();
  const working = memory();
  const store = { ...hung, key: working.key };
  const rank = createRank(store, { clock });
  // A millisecond a token is assumed of who computes, and what is under way is waited for a little longer.
  const patience = 6 * PAGE_TOKENS + 250;
  for (let i = 0; i < 3; i++) {
    assert.ok(rank.cache.isWorthReading(1));
    const loading = loadAll(rank);
    clock.advance(patience);
    assert.deepEqual(await loading, []);
    clock.advance(2000 - patience);
  }
  const last = "given up after 2000 ms";
  const reason = `3 reads in a row failed, the last: ${last}`;
  assert.deepEqual(rank.cache.stats.bypassed, { reads: reason });
  assert.deepEqual([rank.cache.isWorthReading(1), await loadAll(rank)], [false, []]);
  assert.deepEqual([rank.cache.stats.late, rank.cache.stats.misses], [3, 6]);
  clock.advance(1000);
  const saved = await saveAll(createRank(working));
  Object.assign(store, { get: working.get.bind(working) });
  assert.deepEqual(await loadAll(rank), saved);
  assert.deepEqual([rank.cache.isWorthReading(1), rank.cache.stats.bypassed], [true, {}]);
});

test("writes that never end hold few blocks, and are dropped until the store is tried again", async () => {
  const clock = new ManualClock();
  const rank = createRank(hung, { clock });
  for (let round = 0; round < 5; round++) {
    keys.forEach((key, i) => rank.cache.save(key, i, i));
    const flushed = rank.cache.flush();
    for (let turn = 0; turn < 3; turn++) {
      await new Promise((resolve) => setImmediate(resolve));
      clock.advance(60_000);
    }
    await flushed;
  }
  const { late, dropped, bypassed } = rank.cache.stats;
  assert.deepEqual([late + dropped, late <= 8], [30, true]);
  assert.match(bypassed.writes ?? "", /^3 writes in a row failed/);
});

test("reads that nobody waits for any more are bounded too", async () => {
  let open = 0;
  const store = { ...hung, get: () => (open++, never) };
  const rank = createRank(store, { clock: new ManualClock() });
  for (let i = 0; i < 500; i++) {
    const left = new AbortController();
    void loadAll(rank, left.signal);
    left.abort();
  }
  assert.deepEqual([open, rank.cache.isWorthReading(1)], [64, false]);
});

test("after it is aborted a load touches no page", async () => {
  const store = memory();
  await saveAll(createRank(store));
  const rank = createRank(store);
  const untouched = rank.kv.layers.map(({ entries }) => [...entries]);
  const abort = new AbortController();
  const loading = loadAll(rank, abort.signal);
  abort.abort();
  assert.deepEqual(await loading, []);
  assert.deepEqual(
    rank.kv.layers.map(({ entries }) => [...entries]),
    untouched,
  );
});

test("when room is short a context loses its end first", async () => {
  const fileBytes = 128 + LAYERS * PAGE_TOKENS * WIDTH * 4;
  const rank = createRank(new MemoryBlobStore({ maxBytes: 6 * fileBytes, maxAgeMs: 1e9 }));
  await saveAll(rank);
  const [stranger] = new BlockKeys("other").upTo(Array.from({ length: PAGE_TOKENS }, () => 1));
  rank.cache.save(stranger, 7, 0);
  await rank.cache.flush();
  assert.equal((await loadAll(rank)).length, 5);
});

/** Ranks over one directory, its block files by key, and what the pages held. */
async function createDirectory() {
  const directory = join(scratch, `${directories++}`);
  const openRank = async (change: Partial<ContextCacheOptions> = {}) =>
    createRank(await DirectoryBlobStore.open(directory, limits), change);
  const seen = new Set<string>();
  const files: string[] = [];
  const writer = await openRank();
  const saved = [];
  for (const [i, key] of keys.entries()) {
    fillPage(writer.kv, i, i);
    saved.push(pageOf(writer.kv, i));
    writer.cache.save(key, i, i);
    await writer.cache.flush();
    const [file] = blockFiles(directory).filter((name) => !seen.has(name));
    seen.add(file);
    files.push(file);
  }
  return { openRank, files, saved };
}

function blockFiles(directory: string): string[] {
  return readdirSync(directory, { recursive: true, encoding: "utf8" })
    .filter((name) => name.endsWith(".kv"))
    .map((name) => join(directory, name));
}

test("blocks survive a restart, and two nodes share a directory", async () => {
  const { openRank, saved } = await createDirectory();
  const [one, two] = [await openRank(), await openRank()];
  const both = await Promise.all([loadAll(one), loadAll(two)]);
  assert.deepEqual(both, [saved, saved]);
  const other = await openRank({ identity: { ...identity, bits: "amx" } });
  assert.equal((await loadAll(other)).length, 0);
});

test("whatever happens to a file, it is never served, and the next writer replaces it", async () => {
  const { openRank, files, saved } = await createDirectory();
  const whole = files.map((file) => readFileSync(file));
  const { length } = whole[0];
  const damage = fc.oneof(
    fc.record({ at: fc.nat(length - 1), bit: fc.nat(7) }).map(({ at, bit }) => (file: Buffer) => {
      const flipped = Buffer.from(file);
      flipped[at] ^= 1 << bit;
      return flipped;
    }),
    fc.nat(length - 1).map((size) => (file: Buffer) => file.subarray(0, size)),
    fc
      .nat(length - 1)
      .map((size) => (file: Buffer) => Buffer.concat([file, file.subarray(0, size + 1)])),
    fc.nat(length - 1).map((at) => (file: Buffer) => Buffer.from(file).fill(0, at)),
    fc.constant(() => whole[5]),
  );
  await fc.assert(
    fc.asyncProperty(fc.nat(4), damage, async (which, change) => {
      const damaged = change(whole[which]);
      // Cutting off zeros and zeroing them alike may leave the file as it was.
      fc.pre(!damaged.equals(whole[which]));
      writeFileSync(files[which], damaged);
      const rank = await openRank();
      assert.deepEqual(await loadAll(rank), saved.slice(0, which));
      assert.equal(
        Object.values(rank.cache.stats.rejected).reduce((sum, count) => sum + count),
        1,
      );
      fillPage(rank.kv, which, which);
      rank.cache.save(keys[which], which, which);
      await rank.cache.flush();
      assert.equal(rank.cache.stats.written, 1);
      assert.deepEqual(await loadAll(await openRank()), saved);
    }),
    { numRuns: 60 },
  );
});

test("files that were swapped are both refused by their keys", async () => {
  const { openRank, files } = await createDirectory();
  const [first, second] = [readFileSync(files[0]), readFileSync(files[1])];
  writeFileSync(files[0], second);
  writeFileSync(files[1], first);
  const rank = await openRank();
  assert.equal((await loadAll(rank)).length, 0);
  assert.equal(await rank.cache.load({ keys: [keys[1]], pages: [0], first: 1 }, live()), 0);
  assert.deepEqual(rank.cache.stats.rejected, { key: 2 });
});

test("servers that start on one directory at the same time share its key", async () => {
  const directory = join(scratch, `${directories++}`);
  const stores = await Promise.all(
    Array.from({ length: 8 }, () => DirectoryBlobStore.open(directory, limits)),
  );
  for (const { key } of stores) assert.deepEqual(key, stores[0].key);
  assert.equal(statSync(join(directory, "key")).mode & 0o777, 0o600);
  assert.deepEqual(readdirSync(directory), ["key"]);
  writeFileSync(join(directory, "key"), "something else");
  await assert.rejects(DirectoryBlobStore.open(directory, limits), {
    message: `cache key ${join(directory, "key")} holds something else; without the file blocks begin anew`,
  });
});

test("servers whose keys differ leave each other's blocks alone", async () => {
  const { openRank, files, saved } = await createDirectory();
  const before = await openRank();
  rmSync(join(files[0], "../../key"));
  const rank = await openRank();
  assert.equal((await loadAll(rank)).length, 0);
  await saveAll(rank);
  assert.deepEqual(await loadAll(before), saved);
  assert.equal((await loadAll(rank)).length, saved.length);
  assert.deepEqual([before.cache.stats.rejected, rank.cache.stats.rejected], [{}, {}]);
});

test("a foreign model's file under a block's name is refused by its identity", async () => {
  const { openRank, files } = await createDirectory();
  const directory = join(scratch, `${directories++}`);
  mkdirSync(directory);
  copyFileSync(join(files[0], "../../key"), join(directory, "key"));
  const store = await DirectoryBlobStore.open(directory, limits);
  const foreign = createRank(store, { identity: { ...identity, modelHash: "f".repeat(64) } });
  foreign.cache.save(keys[0], 0, 0);
  await foreign.cache.flush();
  writeFileSync(files[0], readFileSync(blockFiles(directory)[0]));
  const rank = await openRank();
  assert.equal((await loadAll(rank)).length, 0);
  assert.deepEqual(rank.cache.stats.rejected, { identity: 1 });
});
