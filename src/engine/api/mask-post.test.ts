import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { MASK_SLOTS } from "../messages.ts";
import { MaskPost } from "./mask-post.ts";

const masks = Array.from({ length: 2 * MASK_SLOTS }, (_, i) => Uint32Array.of(i));

test("a rank that keeps what it is told finds each mask again by its slot", () => {
  const asked = fc.array(fc.nat(masks.length - 1), { minLength: 900, maxLength: 2000 });
  const property = fc.property(asked, (order) => {
    const post = new MaskPost();
    const kept = new Map<number, Uint32Array>();
    for (const [position, each] of order.entries()) {
      post.add(3, { handle: 1, position, mask: masks[each] });
      const [told, ...more] = post.take().get(3) ?? [];
      assert.deepEqual(more, []);
      if (told.mask.allowed) kept.set(told.mask.slot, told.mask.allowed);
      assert.equal(kept.get(told.mask.slot), masks[each]);
      assert.equal(told.position, position);
    }
  });
  fc.assert(property, { numRuns: 20 });
});

test("a mask travels whole once, those of one moment together, and again to a rank that was lost", () => {
  const post = new MaskPost();
  const tell = (rank: number, handle: number) =>
    post.add(rank, { handle, position: 9, mask: masks[0] });
  tell(0, 1);
  tell(0, 2);
  tell(1, 3);
  const place = (handle: number, whole: boolean) => ({
    ...{ handle, position: 9 },
    mask: { slot: 0, ...(whole && { allowed: masks[0] }) },
  });
  assert.deepEqual(
    [...post.take()],
    [
      [0, [place(1, true), place(2, false)]],
      [1, [place(3, true)]],
    ],
  );
  assert.equal(post.take().size, 0);
  tell(0, 1);
  post.forget(0);
  assert.equal(post.take().size, 0);
  tell(0, 4);
  assert.deepEqual([...post.take()], [[0, [place(4, true)]]]);
});
