import assert from "node:assert/strict";
import { test } from "node:test";
import { greedySampling } from "../../kernels/index.ts";
import { Sequence } from "./sequence.ts";

test("what sampling counts of a sequence keeps up with its tokens", () => {
  const sampling = { ...greedySampling, repetitionPenalty: 1.2 };
  const prompt = Uint32Array.of(1, 2, 3);
  const request = {
    id: "r",
    tenant: "",
    prompt,
    choice: 0,
    maxTokens: 9,
    stopTokens: [],
    sampling,
  };
  const sequence = new Sequence(0, request);
  sequence.append(4);
  const state = sequence.sampling;
  assert.equal(state.length, 4);
  sequence.append(3);
  assert.equal(sequence.sampling, state);
  assert.equal(state.length, 5);
  assert.equal(state.adjustmentsAfter(sequence.tokens)?.distinct, 4);
});
