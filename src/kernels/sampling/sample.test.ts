import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { gaussian, randomSource } from "../inputs/index.ts";
import { greedySampling, type SamplingParameters } from "./parameters.ts";
import { philox, uniform } from "./random.ts";
import { createReferenceKernels } from "../reference/reference.ts";
import { logprobs, sample, StepSampling, type TokenChoice } from "./sample.ts";

const context = { tokens: [1, 2, 3], promptLength: 3, choice: 0 };

test("Philox gives the published words of Random123's known-answer file", () => {
  assert.deepEqual(philox([0, 0, 0, 0], [0, 0]), [0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8]);
  const ones = 0xffffffff;
  assert.deepEqual(
    philox([ones, ones, ones, ones], [ones, ones]),
    [0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd],
  );
  assert.deepEqual(
    philox([0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344], [0xa4093822, 0x299f31d0]),
    [0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1],
  );
});

test("the random number depends on seed, choice and position, and is spread evenly", () => {
  assert.notEqual(uniform(1, 0, 5), uniform(2, 0, 5));
  assert.notEqual(uniform(1, 0, 5), uniform(1, 1, 5));
  assert.notEqual(uniform(1, 0, 5), uniform(1, 0, 6));
  assert.notEqual(uniform(1, 0, 5), uniform(1 + 2 ** 32, 0, 5));
  const buckets = Array.from({ length: 10 }, () => 0);
  for (let i = 0; i < 10_000; i++) buckets[Math.floor(uniform(9, 0, i) * 10)]++;
  for (const count of buckets) assert.ok(Math.abs(count - 1000) < 150);
});

test("greedy takes the largest logit, the lower token of equals", () => {
  assert.equal(sample(Float32Array.of(1, 4, 4, 0), greedySampling, context), 1);
});

/** How often each token is drawn over many positions. */
function frequencies(logits: Float32Array, change: Partial<SamplingParameters>, draws = 4000) {
  const counts = Array.from(logits, () => 0);
  for (let i = 0; i < draws; i++) {
    const parameters = { ...greedySampling, temperature: 1, seed: i, ...change };
    counts[sample(logits, parameters, context)]++;
  }
  return counts.map((count) => count / draws);
}

test("sampling follows the softmax at its temperature (chi-square)", () => {
  const logits = gaussian(randomSource(4), 12);
  for (const temperature of [0.5, 1, 2]) {
    const weights = [...logits].map((x) => Math.exp(x / temperature));
    const total = weights.reduce((a, b) => a + b);
    let statistic = 0;
    frequencies(logits, { temperature }).forEach((share, i) => {
      const expected = weights[i] / total;
      statistic += (4000 * (share - expected) ** 2) / expected;
    });
    assert.ok(statistic < 31.3, `chi-square ${statistic} with 11 degrees of freedom`);
  }
});

test("top-k, top-p and min-p only ever draw from the tokens they keep", () => {
  const sizes = fc.integer({ min: 2, max: 40 });
  fc.assert(
    fc.property(
      sizes,
      fc.integer(),
      fc.integer({ min: 0, max: 10 }),
      fc.integer({ min: 5, max: 100 }).map((percent) => percent / 100),
      fc.integer({ min: 0, max: 90 }).map((percent) => percent / 100),
      (size, seed, topK, topP, minP) => {
        const logits = gaussian(randomSource(seed), size, 2);
        const probabilities = [...logits].map((x) => Math.exp(x));
        const order = [...logits.keys()].sort((a, b) => logits[b] - logits[a]);
        const limited = topK > 0 ? order.slice(0, topK) : order;
        const total = limited.reduce((sum, i) => sum + probabilities[i], 0);
        let reached = 0;
        const kept = new Set<number>();
        for (const i of limited) {
          const before = reached;
          reached += probabilities[i] / total;
          const inNucleus = topP >= 1 || before < topP + 1e-9;
          if (inNucleus && probabilities[i] >= minP * probabilities[order[0]] - 1e-9) kept.add(i);
        }
        for (let draw = 0; draw < 20; draw++) {
          const parameters = { ...greedySampling, temperature: 1, topK, topP, minP, seed: draw };
          assert.ok(kept.has(sample(logits, parameters, context)));
        }
      },
    ),
  );
});

test("top-k keeps exactly k, top-p the fewest that reach it, and min-p a share of the best", () => {
  const probabilities = [0.4, 0.3, 0.2, 0.1];
  const logits = Float32Array.from(probabilities, Math.log);
  const drawn = (change: Partial<SamplingParameters>) =>
    frequencies(logits, change, 1000).flatMap((share, token) => (share > 0 ? [token] : []));
  assert.deepEqual(drawn({}), [0, 1, 2, 3]);
  assert.deepEqual(drawn({ topK: 2 }), [0, 1]);
  assert.deepEqual(drawn({ topK: 9 }), [0, 1, 2, 3]);
  assert.deepEqual(drawn({ topP: 0.69 }), [0, 1]);
  assert.deepEqual(drawn({ topP: 0.71 }), [0, 1, 2]);
  assert.deepEqual(drawn({ topP: 1e-9 }), [0]);
  // Of the two that top-k leaves, the first has 4/7 of the mass.
  assert.deepEqual(drawn({ topK: 2, topP: 0.56 }), [0]);
  assert.deepEqual(drawn({ topK: 2, topP: 0.58 }), [0, 1]);
  assert.deepEqual(drawn({ minP: 0.49 }), [0, 1, 2]);
  assert.deepEqual(drawn({ minP: 0.51 }), [0, 1]);
  // The temperature comes before the filters: 0.16, 0.09, 0.04 and 0.01 of 0.3.
  assert.deepEqual(drawn({ temperature: 0.5, topP: 0.82 }), [0, 1]);
  assert.deepEqual(drawn({ temperature: 0.5, minP: 0.3 }), [0, 1]);
});

test("of equal logits the lower tokens are kept and reported", () => {
  const logits = new Float32Array(30).fill(1);
  const shares = frequencies(logits, { topK: 3 }, 500);
  assert.deepEqual(
    shares.flatMap((share, token) => (share > 0 ? [token] : [])),
    [0, 1, 2],
  );
  const top = logprobs(logits, 0, 4).top.map(({ token }) => token);
  assert.deepEqual(top, [0, 1, 2, 3]);
});

test("logits that are not numbers are an error, whatever the parameters", () => {
  const sampled = { ...greedySampling, temperature: 1 };
  for (const parameters of [greedySampling, sampled, { ...sampled, topK: 2, topP: 0.5 }]) {
    assert.throws(
      () => sample(Float32Array.of(1, NaN, 2), parameters, context),
      /token 1's is not/,
    );
    assert.throws(() => sample(Float32Array.of(NaN, 1), parameters, context), /token 0's is not/);
    const infinite = Float32Array.of(0, Infinity);
    assert.throws(() => sample(infinite, parameters, context), /finite maximum, got Infinity/);
    const none = new Float32Array(3).fill(-Infinity);
    assert.throws(() => sample(none, parameters, context), /finite maximum, got -Infinity/);
  }
  const masked = Float32Array.of(-Infinity, 1, -Infinity);
  assert.equal(sample(masked, sampled, context), 1);
});

test("logits are left as they were, and tokens beyond them have no effect", () => {
  const logits = gaussian(randomSource(3), 20);
  const before = logits.slice();
  const parameters = {
    ...greedySampling,
    temperature: 1,
    presencePenalty: 1,
    repetitionPenalty: 1.5,
    logitBias: { 3: 1 },
  };
  const chosen = sample(logits, parameters, { tokens: [1, 2, 3], promptLength: 1, choice: 0 });
  assert.deepEqual(logits, before);
  const beyond = { ...parameters, logitBias: { 3: 1, 25: 100 } };
  assert.equal(sample(logits, beyond, { tokens: [1, 2, 3], promptLength: 1, choice: 0 }), chosen);
});

test("a bias of +100 forces a token and −100 forbids it", () => {
  const logits = gaussian(randomSource(2), 8);
  const forced = { ...greedySampling, temperature: 1, logitBias: { 5: 100 } };
  assert.equal(sample(logits, forced, context), 5);
  const best = sample(logits, greedySampling, context);
  assert.equal(frequencies(logits, { logitBias: { [best]: -100 } }, 500)[best], 0);
});

test("presence and frequency count generated tokens, repetition counts the prompt too", () => {
  const logits = Float32Array.of(2, 1.9, 1, 0);
  const choose = (change: Partial<SamplingParameters>, tokens: number[], promptLength: number) =>
    sample(logits, { ...greedySampling, ...change }, { tokens, promptLength, choice: 0 });
  assert.equal(choose({ presencePenalty: 0.5 }, [0, 3], 1), 0);
  assert.equal(choose({ presencePenalty: 0.5 }, [3, 0], 1), 1);
  assert.equal(choose({ frequencyPenalty: 0.06 }, [3, 0], 1), 0);
  assert.equal(choose({ frequencyPenalty: 0.06 }, [3, 0, 0], 1), 1);
  assert.equal(choose({ repetitionPenalty: 1.2 }, [0, 3], 2), 1);
  const negative = Float32Array.of(-1, -1.1);
  const repeated = { ...greedySampling, repetitionPenalty: 1.2 };
  assert.equal(sample(negative, repeated, { tokens: [0], promptLength: 1, choice: 0 }), 1);
});

test("log-probabilities are those of the model, whatever the sampling does", () => {
  const logits = gaussian(randomSource(8), 50);
  const total = Math.log([...logits].reduce((sum, x) => sum + Math.exp(x), 0));
  const { logprob, top } = logprobs(logits, 7, 5);
  assert.deepEqual(logprobs(logits, 7, 0), { logprob, top: [] });
  assert.equal(logprobs(logits, 7, 50).top.length, 50);
  assert.ok(Math.abs(logprob - (logits[7] - total)) < 1e-5);
  const order = [...logits.keys()].sort((a, b) => logits[b] - logits[a]);
  assert.deepEqual(
    top.map(({ token }) => token),
    order.slice(0, 5),
  );
});

test("a step's rows are chosen as each would be alone, and fail alone", () => {
  const random = randomSource(12);
  const [vocabSize, usable] = [40, 33];
  const sampled = { ...greedySampling, temperature: 1, topK: 9, topP: 0.9, seed: 7 };
  const choices: TokenChoice[] = [
    { ...context, parameters: { ...sampled, logitBias: { 4: 2, 39: 9 } }, topLogprobs: 3 },
    { ...context, parameters: greedySampling },
    { ...context, parameters: greedySampling, topLogprobs: 0 },
    { tokens: [5, 6, 6], promptLength: 1, choice: 2, parameters: { ...sampled, minP: 0.1 } },
    { ...context, parameters: { ...sampled, repetitionPenalty: 1.3 }, topLogprobs: 50 },
  ];
  const logits = gaussian(random, choices.length * vocabSize, 2);
  logits[vocabSize + 8] = NaN;
  logits[2 * vocabSize + usable] = NaN;
  const step = new StepSampling(choices, usable);
  step.enqueue(createReferenceKernels().createStream("f32"), logits, vocabSize);
  choices.forEach(({ parameters, topLogprobs, ...own }, row) => {
    if (row === 1) {
      assert.throws(() => step.chosen(row), /token 8's is not/);
      return;
    }
    const alone = logits.subarray(row * vocabSize, row * vocabSize + usable);
    const token = sample(alone, parameters, own);
    const told = topLogprobs === undefined ? { top: [] } : logprobs(alone, token, topLogprobs);
    assert.deepEqual(step.chosen(row), { token, ...told });
  });
});
