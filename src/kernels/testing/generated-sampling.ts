import type { GeneratedOperation } from "./generated-operation.ts";
import {
  doubles,
  floats,
  gaussian,
  inputs,
  integers,
  randomSource,
  type GeneratorSetting,
} from "../inputs/index.ts";
import { RULE_WIDTH, type LogitAdjustments } from "../stream.ts";

export interface SamplingSizes {
  readonly rows: number;
  readonly vocabSize: number;
  /** Logits from here on are NaN. */
  readonly usable: number;
}

/** What stands in for a row's logits now and then; undefined leaves one as it is. */
const rareLogits = [
  (logit: number) => Math.round(logit),
  (logit: number, token: number) => (token % 3 === 0 ? -Infinity : logit),
  (_: number, token: number) => (token % 2 === 0 ? 0 : -0),
  (logit: number, token: number) => (token === 5 ? NaN : logit),
  (logit: number, token: number) => (token === 6 ? -NaN : logit),
  (logit: number, token: number) => (token === 4 ? Infinity : logit),
  () => -Infinity,
  (logit: number) => 40 * logit,
  // Beside token 7 the first ones weigh next to nothing, later ones nothing.
  (_: number, token: number) => (token === 7 ? 0 : -650 - token),
];

function rowLogits(random: () => number, row: number, { vocabSize, usable }: SamplingSizes) {
  const rare = row % 3 === 2 ? rareLogits[Math.floor(row / 3) % rareLogits.length] : undefined;
  const logits = gaussian(random, vocabSize, 3).fill(NaN, usable);
  return rare ? logits.map((logit, token) => (token < usable ? rare(logit, token) : NaN)) : logits;
}

/** Any temperature, any filters, and any number of likeliest tokens, each now and then none. */
function ruleOf(random: () => number, usable: number, most: number): number[] {
  // The first token that weighs anything.
  if (random() < 0.3) return [1, 0, 1, 0, 0, 0, 1, 0, 0];
  const oneOf = (...values: number[]) => values[Math.floor(random() * values.length)];
  return [
    oneOf(0, 0.3, 1, 1, 2, 30),
    oneOf(0, 0, 1, 3, 50, usable - 1, usable, 2 * usable),
    oneOf(1, 1, 1e-9, 0.5, 0.9, 0.999),
    oneOf(0, 0, 1e-3, 0.1, 1),
    oneOf(0, random(), random(), random(), 1 - 2 ** -53),
    oneOf(0, 1, most),
    ...[oneOf(1, 0.5, 1.3), oneOf(0, -0.5, 1.5), oneOf(0, 0.7)],
  ];
}

/** Of a few tokens each, some of them counted anew, and some beyond those that are usable. */
function adjustmentsOf(random: () => number, vocabSize: number): LogitAdjustments {
  const tokens = Array.from({ length: 6 }, () => Math.floor(random() * vocabSize));
  const distinct = [...new Set(tokens)];
  const count = (token: number) => [token, Math.floor(3 * random())];
  return {
    // More room than is used.
    counted: Int32Array.from([...distinct.flatMap(count), 0, 1]),
    distinct: distinct.length,
    proposed: Int32Array.from([...new Set(tokens.slice(4))].flatMap(count)),
    biasTokens: Int32Array.from(distinct.slice(1)),
    biases: Float64Array.from(distinct.slice(1), () => 20 * random() - 10),
  };
}

export function generateSample(
  { seed }: GeneratorSetting,
  sizes: SamplingSizes,
): GeneratedOperation {
  const { rows, vocabSize, usable } = sizes;
  const random = randomSource(seed);
  const most = Math.min(20, usable);
  const numbers = Array.from({ length: rows }, (_, row) => row);
  const logits = floats(rows * vocabSize);
  const rules = doubles(rows * RULE_WIDTH);
  for (const row of numbers) {
    logits.set(rowLogits(random, row, sizes), row * vocabSize);
    rules.set(ruleOf(random, usable, most), row * RULE_WIDTH);
  }
  const adjustments = numbers.map((row) =>
    row % 2 === 0 ? undefined : adjustmentsOf(random, vocabSize),
  );
  return {
    ...{ name: "sample", rows, agreement: "exact" },
    enqueue(stream, from = 0, to = rows) {
      const count = to - from;
      const out = {
        ...{ tokens: integers(count), sums: doubles(count) },
        ...{ most, likeliest: integers(count * most) },
      };
      const sampling = {
        usable,
        rules: rules.subarray(from * RULE_WIDTH, to * RULE_WIDTH),
        adjustments: adjustments.slice(from, to),
      };
      const part = inputs(logits.subarray(from * vocabSize, to * vocabSize));
      stream.sample(out, part, vocabSize, sampling, count);
      return [out.tokens, out.sums, out.likeliest];
    },
  };
}
