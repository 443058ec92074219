import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { evictions, type StoredBlob } from "./eviction.ts";

const totalBytes = (stored: readonly StoredBlob[]) =>
  stored.reduce((sum, { bytes }) => sum + bytes, 0);

const blobs = fc
  .array(fc.record({ bytes: fc.nat(100), usedAt: fc.nat(50) }), { maxLength: 40 })
  .map((described) => described.map((blob, i) => ({ ...blob, name: `${i}` })));

test("what is kept fits beside the newcomer, and nothing older than what goes is kept", () => {
  const limits = fc.record({
    maxBytes: fc.integer({ min: 100, max: 2000 }),
    maxAgeMs: fc.nat(60),
  });
  fc.assert(
    fc.property(blobs, limits, fc.nat(100), (stored, { maxBytes, maxAgeMs }, room) => {
      const now = 50;
      const gone = new Set(evictions(stored, { maxBytes, maxAgeMs }, room, now));
      const kept = stored.filter((blob) => !gone.has(blob));
      assert.ok(totalBytes(kept) + room <= maxBytes || kept.length === 0);
      assert.ok(kept.every(({ usedAt }) => now - usedAt <= maxAgeMs));
      const oldest = Math.min(...kept.map(({ usedAt }) => usedAt));
      for (const { usedAt } of gone) assert.ok(usedAt <= oldest);
    }),
  );
});

test("nothing goes while all is young and fits", () => {
  fc.assert(
    fc.property(blobs, fc.nat(100), (stored, room) => {
      const limits = { maxBytes: totalBytes(stored) + room, maxAgeMs: 50 };
      assert.deepEqual(evictions(stored, limits, room, 50), []);
    }),
  );
});

test("no more goes than must", () => {
  const stored = Array.from({ length: 100 }, (_, i) => ({ name: `${i}`, bytes: 2, usedAt: i }));
  const gone = evictions(stored, { maxBytes: 200, maxAgeMs: 1000 }, 5, 100);
  assert.deepEqual(
    gone.map(({ usedAt }) => usedAt),
    [0, 1, 2],
  );
});
