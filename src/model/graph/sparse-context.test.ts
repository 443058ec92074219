import assert from "node:assert/strict";
import { test } from "node:test";
import { createReferenceKernels } from "../../kernels/index.ts";
import { largestDifference, sparseFixtures } from "../fixtures.ts";
import { loadModel } from "./model.ts";
import { SingleSequence } from "./single-sequence.ts";

for (const { name, directory, tokens, golden } of sparseFixtures()) {
  test(`${name}: logits of index_topk tokens equal Hugging Face's float32, one token more is refused`, async () => {
    const options = { kernels: createReferenceKernels(), policy: "f32", maxRows: 64 } as const;
    const model = await loadModel(directory, options);
    assert.equal(model.config.maxPositions, tokens.length);
    const sequence = new SingleSequence(model, tokens.length);
    const { vocabSize } = model.config;
    const expected = golden.get("logits")!;
    for (let at = 0; at < tokens.length; at += options.maxRows) {
      const logits = await sequence.append(tokens.slice(at, at + options.maxRows));
      const rows = expected.subarray(at * vocabSize, at * vocabSize + logits.length);
      assert.ok(largestDifference(logits, rows) < 1e-4, `from token ${at}`);
    }
    assert.throws(() => new SingleSequence(model, tokens.length + 1), /73 tokens .*index_topk 72/);
  });
}
