import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { PagePool } from "./page-pool.ts";
import { BlockKeys } from "./prefix.ts";

test("pages are conserved, never shared by accident, and a key always names its content", () => {
  const operation = fc.oneof(
    fc.constant({ kind: "allocate" as const }),
    fc.record({ kind: fc.constant("reuse" as const), key: fc.nat(5) }),
    fc.record({ kind: fc.constant("publish" as const), at: fc.nat(20), key: fc.nat(5) }),
    fc.record({ kind: fc.constant("release" as const), at: fc.nat(20) }),
  );
  fc.assert(
    fc.property(fc.array(operation, { maxLength: 120 }), (operations) => {
      const pool = new PagePool(4);
      const held: number[] = [];
      const named = new Map<number, string>();
      for (const op of operations) {
        if (op.kind === "allocate") {
          const page = pool.allocate();
          assert.equal(page === undefined, new Set(held).size === 4);
          if (page === undefined) continue;
          assert.ok(!held.includes(page));
          named.delete(page);
          held.push(page);
        } else if (op.kind === "reuse") {
          if (pool.countMatching([`k${op.key}`]) === 0) continue;
          const page = pool.reuse(`k${op.key}`);
          assert.equal(named.get(page), `k${op.key}`);
          held.push(page);
        } else if (held.length > 0) {
          const page = held[op.at % held.length];
          if (op.kind === "publish") {
            const fresh = !named.has(page) && pool.countMatching([`k${op.key}`]) === 0;
            pool.publish(page, `k${op.key}`);
            if (fresh) named.set(page, `k${op.key}`);
          } else {
            held.splice(op.at % held.length, 1);
            pool.release(page);
          }
        }
        assert.equal(pool.inUse, new Set(held).size);
      }
      for (const page of held) pool.release(page);
      assert.equal(pool.inUse, 0);
      assert.equal(pool.available, 4);
    }),
  );
});

test("the least recently used block is forgotten first, a context from its end", () => {
  const pool = new PagePool(3);
  const pages = ["a", "b", "c"].map((key) => {
    const page = pool.allocate() as number;
    pool.publish(page, key);
    return page;
  });
  for (const page of pages.reverse()) pool.release(page);
  pool.allocate();
  assert.equal(pool.countMatching(["a", "b", "c"]), 2);
  pool.allocate();
  assert.equal(pool.countMatching(["a", "b", "c"]), 1);
});

test("releasing a page that is not in use is an error", () => {
  const pool = new PagePool(1);
  assert.throws(() => pool.release(0), /page 0 is not in use/);
});

test("block keys depend on every token before their end, and on the tenant", () => {
  const tokens = Array.from({ length: 200 }, (_, i) => i);
  const keys = new BlockKeys("t").upTo(tokens);
  assert.equal(keys.length, 3);
  const changed = new BlockKeys("t").upTo([9, ...tokens.slice(1)]);
  const grown = new BlockKeys("t");
  grown.upTo(tokens.slice(0, 70));
  assert.deepEqual(grown.upTo(tokens), keys);
  keys.forEach((key, i) => {
    assert.notEqual(key, changed[i]);
    assert.notEqual(key, new BlockKeys("u").upTo(tokens)[i]);
  });
});
