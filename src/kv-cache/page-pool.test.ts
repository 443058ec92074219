import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { PAGE_TOKENS } from "../kernels/index.ts";
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
          const at = op.at % held.length;
          if (op.kind === "release") {
            pool.release(held.splice(at, 1)[0]);
          } else if (!named.has(held[at])) {
            const known = [...named].find(([, key]) => key === `k${op.key}`);
            const shared = pool.publish(held[at], `k${op.key}`);
            assert.equal(shared, known?.[0] ?? held[at]);
            held[at] = shared;
            named.set(shared, `k${op.key}`);
          }
        }
        assert.equal(pool.inUse, new Set(held).size);
        assert.equal(pool.available, 4 - pool.inUse);
        const cached = [...named.keys()].filter((page) => !held.includes(page));
        assert.equal(pool.cached, cached.length);
      }
      for (const page of held) pool.release(page);
      assert.equal(pool.inUse, 0);
      assert.equal(pool.available, 4);
    }),
  );
});

test("a block never outlives the blocks before it, however contexts share and end", () => {
  const step = fc.record({ context: fc.nat(4), grow: fc.boolean(), content: fc.nat(1) });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 80 }), (steps) => {
      const pool = new PagePool(6);
      const contexts = Array.from({ length: 5 }, () => ({ path: "", pages: [] as number[] }));
      const known = new Set<string>();
      for (const { context, grow, content } of steps) {
        const { path, pages } = contexts[context];
        const page = grow ? pool.allocate() : undefined;
        if (page === undefined) {
          for (const held of pages.toReversed()) pool.release(held);
          contexts[context] = { path: "", pages: [] };
        } else {
          const longer = `${path}${content}`;
          pages.push(pool.publish(page, longer));
          contexts[context].path = longer;
          known.add(longer);
        }
        for (const key of known) {
          if (pool.countMatching([key]) === 0) continue;
          assert.ok(key.length === 1 || pool.countMatching([key.slice(0, -1)]) === 1, key);
        }
      }
    }),
    { numRuns: 300 },
  );
});

test("the least recently used block is forgotten first, a context from its end", () => {
  const pool = new PagePool(3);
  const pages = ["a", "b", "c"].map((key) => pool.publish(pool.allocate() ?? -1, key));
  for (const page of pages.toReversed()) pool.release(page);
  pool.allocate();
  assert.equal(pool.countMatching(["a", "b", "c"]), 2);
  pool.allocate();
  assert.equal(pool.countMatching(["a", "b", "c"]), 1);
});

test("a page published twice over is kept once", () => {
  const pool = new PagePool(3);
  const [first, second] = [pool.allocate() ?? -1, pool.allocate() ?? -1];
  assert.equal(pool.publish(first, "a"), first);
  assert.equal(pool.publish(second, "a"), first);
  assert.equal(pool.inUse, 1);
  pool.release(first);
  assert.equal(pool.inUse, 1);
  pool.release(first);
  assert.equal(pool.inUse, 0);
});

test("releasing or naming a page that is not in use is an error", () => {
  const pool = new PagePool(1);
  assert.throws(() => pool.release(0), /page 0 is not in use/);
  assert.throws(() => pool.publish(0, "a"), /page 0 is not in use/);
  assert.throws(() => pool.release(7), /page 7 is not in use/);
  pool.publish(pool.allocate() ?? -1, "a");
  assert.throws(() => pool.publish(0, "b"), /page 0 already holds a block/);
});

test("block keys depend on every token before their end, and on the tenant", () => {
  const tokens = Array.from({ length: 3 * PAGE_TOKENS + 8 }, (_, i) => i);
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

test("tenants that differ in any code unit never share keys", () => {
  const tokens = Array.from({ length: PAGE_TOKENS }, (_, i) => i);
  const [high] = new BlockKeys("\ud800").upTo(tokens);
  assert.notEqual(high, new BlockKeys("\ud801").upTo(tokens)[0]);
});
