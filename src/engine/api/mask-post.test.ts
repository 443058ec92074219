import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import type { TokenMask } from "../../kernels/index.ts";
import { chainsOf, MASK_SLOTS, maskColumns } from "../mask-columns.ts";
import { MaskPost } from "./mask-post.ts";

const masks = Array.from({ length: 2 * MASK_SLOTS }, (_, i) => Uint32Array.of(i));

test("a rank that keeps what it is told finds each mask again by its slot", () => {
  const asked = fc.array(fc.nat(masks.length - 1), { minLength: 900, maxLength: 2000 });
  const property = fc.property(asked, fc.integer({ min: 1, max: 700 }), (order, together) => {
    const post = new MaskPost();
    const kept: TokenMask[] = [];
    for (let position = 0; position < order.length; position += together) {
      const some = order.slice(position, position + together);
      post.add(3, 1, { position, places: some.map((after) => ({ after, mask: masks[after] })) });
      const [[rank, columns], ...others] = [...post.take()];
      assert.ok(maskColumns.safeParse(columns).success);
      const [chain] = [...chainsOf(columns)];
      assert.deepEqual([rank, others, chain.handle, chain.position], [3, [], 1, position]);
      const found = chain.places.map(({ after, slot, allowed }) => {
        if (allowed) kept[slot] = allowed;
        return [after, kept[slot][0]];
      });
      assert.deepEqual(
        found,
        some.map((each) => [each, each]),
      );
    }
  });
  fc.assert(property, { numRuns: 20 });
});

test("a mask travels whole once, those of one moment together, and again to a rank that was lost", () => {
  const post = new MaskPost();
  const tell = (rank: number, handle: number) =>
    post.add(rank, handle, { position: 9, places: [{ after: 7, mask: masks[0] }] });
  const taken = () => [...post.take()].map(([rank, columns]) => [rank, [...chainsOf(columns)]]);
  tell(0, 1);
  tell(0, 2);
  tell(1, 3);
  const chain = (handle: number, whole: boolean) => ({
    ...{ handle, position: 9 },
    places: [{ after: 7, slot: 0, ...(whole && { allowed: masks[0] }) }],
  });
  assert.deepEqual(taken(), [
    [0, [chain(1, true), chain(2, false)]],
    [1, [chain(3, true)]],
  ]);
  assert.deepEqual(taken(), []);
  tell(0, 1);
  post.forget(0);
  assert.deepEqual(taken(), []);
  tell(0, 4);
  assert.deepEqual(taken(), [[0, [chain(4, true)]]]);
});

test("columns that are cut, or name a slot or a mask that is not there, are none", () => {
  const chains = Uint32Array.of(1, 9, 2, 7, 0, 1, 8, 255, 0);
  const columns = { chains, masks: 1, allowed: Uint32Array.of(1, 2) };
  const areSome = (change: object) => maskColumns.safeParse({ ...columns, ...change }).success;
  assert.ok(areSome({}));
  for (let length = 1; length < chains.length; length++) {
    assert.ok(!areSome({ chains: chains.slice(0, length) }));
  }
  for (const [at, word] of [
    [2, 2 ** 32 - 1],
    [4, MASK_SLOTS],
    [5, 0],
  ]) {
    assert.ok(!areSome({ chains: chains.with(at, word) }));
  }
  assert.ok(!areSome({ masks: 0 }));
});
