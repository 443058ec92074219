import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { Repeats } from "./repeats.ts";

const after = (tokens: readonly number[], most = 4) =>
  new Repeats().propose(Uint32Array.from(tokens), most);

test("a context goes on as it did where its last three tokens stood before", () => {
  assert.deepEqual(after([1, 2, 3, 4, 5, 6, 9, 1, 2, 3]), [4, 5, 6, 9]);
  assert.deepEqual(after([1, 2, 3, 4, 5, 6, 9, 1, 2, 3], 2), [4, 5]);
  assert.deepEqual(after([1, 2, 3, 4, 9, 2, 3]), [], "two tokens are too few");
  assert.deepEqual(after([]), []);
  assert.deepEqual(after([1, 2, 3]), [], "where they stand now tells nothing");
});

test("of several places the one with the longest agreement counts, then the latest", () => {
  assert.deepEqual(after([8, 1, 2, 3, 4, 7, 1, 2, 3, 5, 8, 1, 2, 3], 1), [4]);
  assert.deepEqual(after([7, 1, 2, 3, 4, 7, 1, 2, 3, 5, 6, 1, 2, 3], 1), [5]);
});

test("a repetition that reaches the context's end goes on with itself", () => {
  assert.deepEqual(after([5, 1, 2, 1, 2, 1, 2], 5), [1, 2, 1, 2, 1]);
  assert.deepEqual(after([3, 3, 3, 3], 3), [3, 3, 3]);
});

test("proposals made while a context grows are those of the whole context", () => {
  const tokens = fc.array(fc.integer({ min: 0, max: 3 }), { minLength: 1, maxLength: 200 });
  const cut = fc.integer({ min: 1, max: 200 });
  fc.assert(
    fc.property(tokens, cut, (all, step) => {
      const context = Uint32Array.from(all);
      const growing = new Repeats();
      for (let end = 1; end <= context.length; end += step) {
        const known = context.subarray(0, end);
        assert.deepEqual(growing.propose(known, 6), new Repeats().propose(known, 6));
      }
    }),
    { numRuns: 200 },
  );
});

test("what is proposed has followed the context's last three tokens before", () => {
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 0, max: 4 }), { maxLength: 120 }), (tokens) => {
      const [next] = after(tokens, 1);
      const end = tokens.slice(-3).join();
      const followers = tokens.flatMap((token, i) =>
        i >= 3 && tokens.slice(i - 3, i).join() === end ? [token] : [],
      );
      assert.ok(next === undefined ? followers.length === 0 : followers.includes(next));
    }),
  );
});
