import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import fc from "fast-check";
import type { BlobStore } from "./blob-store.ts";
import { DirectoryBlobStore } from "./directory-blob-store.ts";
import type { StoreLimits } from "./eviction.ts";
import { MemoryBlobStore } from "./memory-blob-store.ts";

const scratch = mkdtempSync(join(tmpdir(), "daysix-blob-store-"));
after(() => rmSync(scratch, { recursive: true, force: true }));
let stores = 0;

const kinds: [string, (limits: StoreLimits) => Promise<BlobStore>][] = [
  ["memory", async (limits) => new MemoryBlobStore(limits)],
  ["directory", async (limits) => DirectoryBlobStore.open(join(scratch, `${stores++}`), limits)],
];

const nameOf = (text: string) => createHash("sha256").update(text).digest("hex");
const bytes = (...values: number[]) => Uint8Array.from(values);
const read = async (store: BlobStore, name: string, size: number, now: number) => {
  const found = await store.get(name, size, now);
  return typeof found === "string" ? found : [...found];
};

for (const [kind, open] of kinds) {
  test(`${kind}: what is put is got until it is deleted or replaced`, async () => {
    const store = await open({ maxBytes: 100, maxAgeMs: 1000 });
    const [a, b] = [nameOf("a"), nameOf("b")];
    assert.equal(await store.get(a, 3, 1000), "absent");
    assert.equal(await store.touch(a, 3, 1000), false);
    await store.put(a, bytes(1, 2, 3), 1000);
    await store.put(b, bytes(4), 1000);
    assert.deepEqual(await read(store, a, 3, 1000), [1, 2, 3]);
    assert.equal(await store.touch(a, 3, 1000), true);
    await store.put(a, bytes(7, 8), 1000);
    assert.deepEqual(await read(store, a, 2, 1000), [7, 8]);
    assert.deepEqual(await read(store, b, 1, 1000), [4]);
    await store.delete(a);
    await store.delete(a);
    assert.equal(await store.get(a, 2, 1000), "absent");
    assert.deepEqual(await read(store, b, 1, 1000), [4]);
  });

  test(`${kind}: content of another length is neither read nor counted as there`, async () => {
    const store = await open({ maxBytes: 100, maxAgeMs: 1000 });
    await store.put(nameOf("a"), bytes(1, 2, 3), 1000);
    for (const size of [0, 2, 4]) {
      assert.equal(await store.get(nameOf("a"), size, 1000), "wrong size");
      assert.equal(await store.touch(nameOf("a"), size, 1000), false);
    }
  });

  test(`${kind}: content expires after its last use, not after it was written`, async () => {
    const store = await open({ maxBytes: 100, maxAgeMs: 1000 });
    const [got, touched, unused] = ["got", "touched", "unused"].map(nameOf);
    for (const name of [got, touched, unused]) await store.put(name, bytes(1), 5000);
    await store.get(got, 1, 5600);
    await store.touch(touched, 1, 5600);
    assert.deepEqual(await read(store, unused, 1, 6001), "absent");
    assert.equal(await store.touch(unused, 1, 6001), false);
    assert.deepEqual(await read(store, got, 1, 6600), [1]);
    assert.equal(await store.touch(touched, 1, 6600), true);
  });

  test(`${kind}: a full store forgets what was used least recently`, async () => {
    const store = await open({ maxBytes: 30, maxAgeMs: 1e9 });
    const names = ["a", "b", "c"].map(nameOf);
    const content = new Uint8Array(10);
    for (const [i, name] of names.entries()) await store.put(name, content, 1000 + i);
    await store.get(names[0], 10, 2000);
    await store.put(nameOf("d"), content, 2001);
    const there = [];
    for (const name of names) there.push(await store.touch(name, 10, 2002));
    assert.deepEqual(there, [true, false, true]);
    assert.equal(await store.touch(nameOf("d"), 10, 2002), true);
    await assert.rejects(store.put(nameOf("huge"), new Uint8Array(31), 2003), {
      message: "a block of 31 bytes is over the store's limit of 30",
    });
    assert.equal(await store.touch(nameOf("huge"), 31, 2003), false);
    assert.equal(await store.touch(nameOf("d"), 10, 2003), true);
  });

  test(`${kind}: whatever is put, no more is kept than may be, and all of it is right`, async () => {
    const put = fc.record({ name: fc.nat(30), size: fc.integer({ min: 1, max: 40 }) });
    await fc.assert(
      fc.asyncProperty(fc.array(put, { maxLength: 40 }), async (puts) => {
        const maxBytes = 200;
        const store = await open({ maxBytes, maxAgeMs: 1e9 });
        const sizes = new Map<string, number>();
        for (const [i, { name, size }] of puts.entries()) {
          sizes.set(nameOf(`${name}`), size);
          await store.put(nameOf(`${name}`), new Uint8Array(size).fill(size), 1000 + i);
        }
        let total = 0;
        for (const [name, size] of sizes) {
          const found = await store.get(name, size, 2000);
          if (typeof found === "string") assert.equal(found, "absent");
          else assert.deepEqual([...found], Array(size).fill(size));
          total += typeof found === "string" ? 0 : size;
        }
        assert.ok(total <= maxBytes, `${total} bytes`);
      }),
      { numRuns: kind === "memory" ? 100 : 15 },
    );
  });
}
