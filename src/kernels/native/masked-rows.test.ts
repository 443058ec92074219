import assert from "node:assert/strict";
import { test } from "node:test";
import { gaussian, randomSource } from "../inputs/index.ts";
import { createReferenceKernels } from "../reference/reference.ts";
import { greedySampling, StepSampling } from "../sampling/index.ts";
import type { TokenChoice } from "../sampling/index.ts";
import { backends } from "../testing/fixtures.ts";
import type { Stream } from "../stream.ts";

const [VOCAB, USABLE, ROWS] = [300, 290, 40];

/** Rows of which a mask allows a few tokens, some with a bias, some with a logit that is no finite number. */
function maskedRows(): { choices: () => TokenChoice[]; logits: Float32Array } {
  const draw = randomSource(3);
  const logits = gaussian(draw, ROWS * VOCAB, 2);
  for (const odd of [NaN, Infinity, -Infinity, -NaN]) {
    for (let i = 0; i < 5; i++) logits[Math.floor(draw() * logits.length)] = odd;
  }
  const masks = Array.from({ length: ROWS }, () =>
    Uint32Array.from({ length: Math.ceil(VOCAB / 32) }, () => draw() * 2 ** 32).map(
      (word) => word & (draw() * 2 ** 32) & (draw() * 2 ** 32),
    ),
  );
  const choices = () =>
    masks.map((mask, row) => {
      const biased = row % 3 === 0 ? { logitBias: { 7: 3, 8: -100 } } : {};
      const parameters = { ...greedySampling, ...biased, temperature: row % 2, seed: row };
      return { tokens: [1, 2], promptLength: 2, choice: 0, parameters, mask };
    });
  return { choices, logits };
}

async function chosen(stream: Stream): Promise<(number | string)[]> {
  const { choices, logits } = maskedRows();
  const step = new StepSampling(choices(), USABLE);
  step.enqueue(stream, logits, VOCAB);
  await stream.fence();
  return Array.from({ length: ROWS }, (_, row) => {
    try {
      return step.chosen(row).token;
    } catch (error) {
      return (error as Error).message;
    }
  });
}

const expected = await chosen(createReferenceKernels().createStream("f32"));

for (const { name, create } of backends.filter((each) => each.name !== "reference")) {
  test(`a masked row's token is the reference's, whatever its logits: ${name}`, async (t) => {
    const stream = create().createStream("f32");
    t.after(() => stream.close());
    assert.deepEqual(await chosen(stream), expected);
    assert.ok(expected.some((each) => typeof each === "string") && new Set(expected).size > 20);
  });
}
