import assert from "node:assert/strict";
import { test } from "node:test";
import { greedySampling } from "../../kernels/index.ts";
import { Sequence } from "./sequence.ts";

const request = {
  ...{ id: "r", tenant: "", prompt: Uint32Array.of(1, 2, 3), choice: 0 },
  ...{ maxTokens: 9, stopTokens: [], sampling: greedySampling },
};
const maskOf = (...tokens: number[]) => {
  const mask = new Uint32Array(1);
  for (const token of tokens) mask[0] |= 1 << token;
  return mask;
};

test("guesses are cut where they may not come, and what must come takes their place", () => {
  const sequence = new Sequence(0, { ...request, mask: maskOf(4, 5) });
  const possible = (...guessed: number[]) => sequence.possible(guessed);
  assert.deepEqual(possible(4, 9, 9), [4, 9, 9], "nothing is known of what follows a 4");
  assert.deepEqual(possible(6, 4), []);
  const behind = { after: 7, mask: maskOf(8, 9) };
  sequence.allow(3, [{ after: 3, mask: maskOf(4, 5) }, { after: 4, mask: maskOf(7) }, behind]);
  assert.deepEqual(possible(), [], "a 5 may come too");
  assert.deepEqual(possible(5, 9), [5, 9]);
  assert.deepEqual(possible(4, 9, 9), [4, 7]);
  assert.deepEqual(possible(4, 7, 9, 9), [4, 7, 9, 9]);
  assert.deepEqual(possible(4, 7, 6), [4, 7]);
  sequence.append(4);
  assert.deepEqual(possible(), [7]);
  assert.deepEqual(possible(7, 8), [7, 8]);
});

test("masks hold for the tokens behind which they were told", () => {
  const sequence = new Sequence(0, { ...request, mask: maskOf(4, 5) });
  const [seven, eight, nine] = [7, 8, 9].map((token) => maskOf(token));
  const first = { after: 3, mask: maskOf(4, 5) };
  sequence.allow(3, [first, { after: 4, mask: seven }, { after: 7, mask: eight }]);
  const after = (...tokens: number[]) => sequence.maskAfter([1, 2, 3, ...tokens]);
  assert.deepEqual(
    [after(4), after(4, 7), after(5), after(4, 6)],
    [seven, eight, undefined, undefined],
  );
  sequence.allow(3, [first, { after: 5, mask: nine }]);
  assert.deepEqual([after(5), after(4), after(4, 7)], [nine, undefined, undefined]);
  sequence.append(4);
  assert.ok(sequence.lacksMask, "it was told what follows a 5");
  sequence.allow(3, [first, { after: 5, mask: nine }, { after: 7, mask: eight }]);
  assert.ok(sequence.lacksMask, "that was not to come");
  sequence.allow(3, [first, { after: 4, mask: seven }, { after: 7, mask: eight }]);
  assert.deepEqual([after(4), after(4, 7)], [seven, eight]);
});

test("what sampling counts of a sequence keeps up with its tokens", () => {
  const sampling = { ...greedySampling, repetitionPenalty: 1.2 };
  const sequence = new Sequence(0, { ...request, sampling });
  sequence.append(4);
  const state = sequence.sampling;
  assert.equal(state.length, 4);
  sequence.append(3);
  assert.equal(sequence.sampling, state);
  assert.equal(state.length, 5);
  assert.equal(state.adjustmentsAfter(sequence.tokens)?.distinct, 4);
});
