import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { adjustedLogits } from "./choose.ts";
import { greedySampling } from "./parameters.ts";
import { StepSampling, type TokenChoice } from "./sample.ts";
import { SamplingState } from "./state.ts";
import type { SamplingRows } from "../stream.ts";
import { gaussian, randomSource } from "../inputs/index.ts";

/** The logits from which each choice's token is taken. */
function adjusted(choices: readonly TokenChoice[], logits: Float32Array): Float32Array[] {
  let rows: SamplingRows | undefined;
  const stream = { sample: (...[, , , sampling]: unknown[]) => (rows = sampling as SamplingRows) };
  new StepSampling(choices, logits.length).enqueue(stream, logits, logits.length);
  return choices.map((_, row) => adjustedLogits(logits, rows as SamplingRows, row));
}

/** Penalties counted anew from all tokens, then biases. */
function expected({ tokens, promptLength, parameters }: TokenChoice, logits: Float32Array) {
  const { repetitionPenalty, presencePenalty, frequencyPenalty, logitBias, barred } = parameters;
  const out = logits.slice();
  const known = Array.from(tokens).filter((token) => token < logits.length);
  if (repetitionPenalty !== 1) {
    for (const token of new Set(known)) {
      out[token] = out[token] > 0 ? out[token] / repetitionPenalty : out[token] * repetitionPenalty;
    }
  }
  const counts = new Map<number, number>();
  for (let i = promptLength; i < tokens.length; i++) {
    if (tokens[i] < logits.length) counts.set(tokens[i], (counts.get(tokens[i]) ?? 0) + 1);
  }
  for (const [token, count] of counts) out[token] -= presencePenalty + count * frequencyPenalty;
  for (const [token, bias] of Object.entries(logitBias)) {
    if (Number(token) < logits.length) out[Number(token)] += bias;
  }
  if (barred && tokens.length - promptLength < barred.before) {
    for (const token of barred.tokens) if (token < logits.length) out[token] = -1e9;
  }
  return out;
}

const penalty = (none: number) => fc.constantFrom(none, 0.7, 1.3, -0.4);

test("a state brought along token by token, with proposals beyond it, gives what counting anew gives", () => {
  fc.assert(
    fc.property(
      fc.array(fc.oneof(fc.nat(9), fc.nat(400)), { maxLength: 300 }),
      fc.tuple(fc.nat(300), fc.nat(300), fc.nat()),
      fc.record({
        repetitionPenalty: fc.constantFrom(1, 0.7, 1.3),
        presencePenalty: penalty(0),
        frequencyPenalty: penalty(0),
        logitBias: fc.dictionary(fc.nat(400).map(String), fc.constantFrom(-100, 0.3, 5)),
        barred: fc.record({ tokens: fc.array(fc.nat(400), { maxLength: 3 }), before: fc.nat(9) }),
      }),
      (tokens, [prompt, standing, seed], change) => {
        const parameters = { ...greedySampling, ...change };
        const promptLength = Math.min(prompt, tokens.length);
        const state = new SamplingState(parameters, promptLength);
        const logits = gaussian(randomSource(seed), 350, 3);
        const choices: TokenChoice[] = [];
        // The last few tokens are proposed: each row sees one more of them.
        const stands = Math.max(Math.min(standing, tokens.length), tokens.length - 5);
        for (const token of tokens.slice(0, stands)) state.append(token);
        for (let length = stands; length <= tokens.length; length++) {
          const own = { tokens: tokens.slice(0, length), promptLength, choice: 0, parameters };
          choices.push({ ...own, state }, own);
        }
        const actual = adjusted(choices, logits);
        const never = (value: number) => (value < -1e8 ? -Infinity : value);
        assert.deepEqual(
          actual.map((row) => row.map(never)),
          choices.map((choice) => expected(choice, logits).map(never)),
        );
      },
    ),
  );
});

test("a step counts only the tokens that are new", () => {
  let read = 0;
  const numbers = Array.from({ length: 500 }, (_, i) => i % 37);
  const tokens = new Proxy(numbers, {
    get(target, name) {
      if (typeof name === "string" && /^\d+$/.test(name)) read++;
      return Reflect.get(target, name);
    },
  });
  const parameters = { ...greedySampling, repetitionPenalty: 1.2, frequencyPenalty: 0.1 };
  const choice = { tokens, promptLength: 400, choice: 0, parameters };
  const logits = gaussian(randomSource(1), 40);
  const stepReads = () => {
    const before = read;
    const [actual] = adjusted([choice], logits);
    const reads = read - before;
    assert.deepEqual(actual, expected({ ...choice, tokens: numbers }, logits));
    return reads;
  };
  assert.equal(stepReads(), 500);
  assert.equal(stepReads(), 0);
  numbers.push(39, 5);
  assert.equal(stepReads(), 2);
});
