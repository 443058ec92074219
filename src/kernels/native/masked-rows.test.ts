import assert from "node:assert/strict";
import { test } from "node:test";
import { gaussian, randomSource } from "../inputs/index.ts";
import { createReferenceKernels } from "../reference/reference.ts";
import { sampleRows } from "../sampling/choose.ts";
import { allows, greedySampling, StepSampling } from "../sampling/index.ts";
import type { ChosenToken, TokenChoice } from "../sampling/index.ts";
import { sample } from "../sampling/sample.ts";
import { backends } from "../testing/fixtures.ts";
import type { Stream, TokenMask } from "../stream.ts";

const [VOCAB, USABLE, ROWS] = [700, 650, 120];

/** All tokens of some 64, none of others, of the rest few or many; some masks have fewer words than there are tokens. */
function maskOf(draw: () => number): TokenMask {
  const words = draw() < 0.2 ? 9 : Math.ceil(VOCAB / 32);
  const word = () => Math.floor(draw() * 2 ** 32);
  const kinds = [() => 0, () => 0xffffffff, word, () => word() & word() & word() & word()];
  const few = draw() < 0.5;
  const pairs = Array.from({ length: Math.ceil(words / 2) }, () => {
    const kind = kinds[few ? 3 * Math.round(draw()) : Math.floor(4 * draw())];
    return [kind(), kind()];
  });
  return Uint32Array.from(pairs.flat().slice(0, words));
}

/** Of any temperature, filters, penalties and biases; some with a logit that is no finite number. */
function maskedRows(): { choices: TokenChoice[]; logits: Float32Array } {
  const draw = randomSource(3);
  const logits = gaussian(draw, ROWS * VOCAB, 2);
  for (const odd of [NaN, Infinity, -Infinity, -NaN]) {
    for (let i = 0; i < 25; i++) logits[Math.floor(draw() * logits.length)] = odd;
  }
  const oneOf = (...values: number[]) => values[Math.floor(draw() * values.length)];
  const choices = Array.from({ length: ROWS }, (_, row): TokenChoice => {
    const parameters = {
      ...{ ...greedySampling, temperature: oneOf(0, 0.7, 1.5), seed: row },
      ...{ topK: oneOf(0, 0, 5, 40), topP: oneOf(1, 0.8), minP: oneOf(0, 0.1) },
      ...(row % 3 === 0 && { logitBias: { 7: 3, 8: -100, 300: 9, [USABLE]: 5 } }),
      ...(row % 4 === 0 && { repetitionPenalty: 1.3, frequencyPenalty: 0.4 }),
    };
    const context = { tokens: [1, 2, 40, 40, 333], promptLength: 2, choice: 0 };
    return {
      ...context,
      parameters,
      mask: maskOf(draw),
      topLogprobs: row % 5 === 0 ? 3 : undefined,
    };
  });
  return { choices, logits };
}

const { choices, logits } = maskedRows();

/** What was chosen of each row, or why nothing was. */
async function chosen(stream: Pick<Stream, "sample" | "fence">): Promise<(ChosenToken | string)[]> {
  const step = new StepSampling(choices, USABLE);
  step.enqueue(stream, logits, VOCAB);
  await stream.fence();
  return choices.map((_, row) => {
    try {
      return step.chosen(row);
    } catch (error) {
      return (error as Error).message;
    }
  });
}

const expected = await chosen(createReferenceKernels().createStream("f32"));

test("a masked row's token is the one that is chosen where there are no others", () => {
  const tokens = choices.map((choice, row) => {
    const own = logits.subarray(row * VOCAB, row * VOCAB + USABLE);
    const allowed = [...own.keys()].filter((token) => allows(choice.mask as TokenMask, token));
    const names = new Map(allowed.map((token, place) => [token, place]));
    const biases = Object.entries(choice.parameters.logitBias).flatMap(([token, bias]) => {
      const place = names.get(Number(token));
      return place === undefined ? [] : [[place, bias]];
    });
    const parameters = { ...choice.parameters, logitBias: Object.fromEntries(biases) };
    const context = Array.from(choice.tokens, (token) => names.get(token) ?? allowed.length);
    try {
      const alone = Float32Array.from(allowed, (token) => own[token]);
      return allowed[sample(alone, parameters, { promptLength: 2, choice: 0, tokens: context })];
    } catch {
      return undefined;
    }
  });
  const told = expected.map((each) => (typeof each === "string" ? undefined : each.token));
  assert.deepEqual(told, tokens);
  assert.ok(told.includes(undefined) && new Set(told).size > 40);
});

test("log-probabilities of a masked row are those of all its logits", () => {
  const plain = new StepSampling(
    choices.map((choice) => ({ ...choice, mask: undefined })),
    USABLE,
  );
  plain.enqueue({ sample: sampleRows }, logits, VOCAB);
  let compared = 0;
  for (const [row, { topLogprobs }] of choices.entries()) {
    const own = expected[row];
    const isFinite = logits.subarray(row * VOCAB, row * VOCAB + USABLE).every(Number.isFinite);
    if (topLogprobs === undefined || typeof own === "string" || !isFinite) continue;
    assert.deepEqual(own.top, plain.chosen(row).top);
    compared++;
  }
  assert.ok(compared > 5);
});

for (const { name, create } of backends.filter((each) => each.name !== "reference")) {
  test(`a masked row's token is the reference's, whatever its logits: ${name}`, async (t) => {
    const stream = create().createStream("f32");
    t.after(() => stream.close());
    assert.deepEqual(await chosen(stream), expected);
  });
}
