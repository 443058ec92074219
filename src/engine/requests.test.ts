import assert from "node:assert/strict";
import { test } from "node:test";
import { greedySampling } from "../kernels/index.ts";
import { request } from "./api/fixtures.ts";
import type { AskedRequest } from "./messages.ts";
import { admitted, problemWith } from "./requests.ts";

const limits = { maxModelLen: 200, vocabSize: 320, eosTokens: [], pages: 4 };
const prompt = Array.from({ length: 130 }, (_, i) => i);

test("a request that cannot be computed is refused by the field that is wrong", () => {
  const wrong: [change: Partial<AskedRequest>, problem: RegExp][] = [
    [{ prompt: [] }, /^prompt: expected at least one token/],
    [{ prompt: [...prompt, ...prompt] }, /^prompt: 260 tokens leave no room in a context of 200/],
    [{ prompt: [1, -1] }, /^prompt: expected tokens below 320, got -1/],
    [{ prompt: [1, 1.5] }, /^prompt: expected tokens below 320, got 1.5/],
    [{ prompt: Uint32Array.of(1, 2 ** 32 - 1) }, /^prompt: expected tokens below 320/],
    // Keys of too few or too many pages would name a page that holds something else.
    [{ blockKeys: new Uint8Array(32) }, /^blockKeys: 32 bytes do not fit 130 tokens/],
    [{ blockKeys: new Uint8Array(96) }, /^blockKeys: 96 bytes do not fit 130 tokens/],
    [{ maxTokens: 0 }, /^maxTokens: expected a positive whole number, got 0/],
    [{ sampling: { ...greedySampling, logitBias: { 320: 1 } } }, /^logitBias: .* got 320/],
    [
      { sampling: { ...greedySampling, barred: { tokens: [320], before: 1 } } },
      /^barred: .* got 320/,
    ],
  ];
  for (const [change, problem] of wrong) {
    assert.match(problemWith(request(prompt, change), limits) ?? "", problem);
  }
  assert.equal(problemWith(request(prompt, { blockKeys: new Uint8Array(64) }), limits), undefined);
});

test("a plain list of tokens becomes the engine's own, and an array of its kind is kept", () => {
  assert.deepEqual(admitted(request([1, 2])).prompt, Uint32Array.of(1, 2));
  const own = Uint32Array.of(3);
  assert.equal(admitted({ ...request([]), prompt: own }).prompt, own);
});
