import { exponential } from "../elementary.ts";
import {
  COUNT_WIDTH,
  RULE_WIDTH,
  type SampledRows,
  type SamplingRows,
  type TokenMask,
} from "../stream.ts";
import { allowedTokens } from "./mask.ts";

/** Values are summed in blocks of this many, the blocks in order. */
const SUM_BLOCK = 1024;

/** Chooses each row's token, and finds what its log-probabilities are made of; see `Stream`. */
export function sampleRows(
  out: SampledRows,
  logits: Float32Array,
  vocabSize: number,
  sampling: SamplingRows,
  rows: number,
): void {
  refuseWanted(sampling, out.most, rows);
  for (let row = 0; row < rows; row++) {
    const own = logits.subarray(row * vocabSize, row * vocabSize + sampling.usable);
    const rule = sampling.rules.subarray(row * RULE_WIDTH, (row + 1) * RULE_WIDTH);
    const adjusted = adjustedLogits(own, sampling, row);
    out.tokens[row] = chooseAllowed(adjusted, sampling.adjustments[row]?.allowed, rule);
    const wanted = rule[5];
    if (wanted === 0 || largestIndex(own) < 0) continue;
    const best = likeliest(own, wanted);
    out.likeliest.set(best, row * out.most);
    out.sums[row] = expSum(own, own[best[0]]);
  }
}

/** As native/host/indices.cc does. */
function refuseWanted({ rules, usable }: SamplingRows, most: number, rows: number): void {
  for (let row = 0; row < rows; row++) {
    const wanted = rules[row * RULE_WIDTH + 5];
    if (wanted >= 0 && wanted <= Math.min(most, usable)) continue;
    const problem = `asks for ${wanted} likeliest tokens, there is room for ${most} of ${usable}`;
    throw new RangeError(`sample: row ${row} ${problem}`);
  }
}

/** A row's logits after its penalties and biases. */
export function adjustedLogits(
  logits: Float32Array,
  { adjustments, rules }: SamplingRows,
  row: number,
): Float32Array {
  const own = adjustments[row];
  if (!own) return logits;
  const adjusted = logits.slice();
  const [repetition, presence, frequency] = rules.subarray(row * RULE_WIDTH + 6);
  const penalise = (counted: Int32Array, length: number) => {
    for (let i = 0; i < length; i += COUNT_WIDTH) {
      const token = counted[i];
      if (token >= logits.length) continue;
      const x = logits[token];
      adjusted[token] = x > 0 ? x / repetition : x * repetition;
      if (counted[i + 1] > 0) adjusted[token] -= presence + counted[i + 1] * frequency;
    }
  };
  penalise(own.counted, own.distinct * COUNT_WIDTH);
  penalise(own.proposed, own.proposed.length);
  for (const [i, token] of own.biasTokens.entries()) {
    if (token < logits.length) adjusted[token] += own.biases[i];
  }
  return adjusted;
}

/** The token that a rule chooses of those that may come: others are as if they were not there. */
function chooseAllowed(
  logits: Float32Array,
  allowed: TokenMask | undefined,
  rule: Float64Array,
): number {
  if (!allowed) return chooseToken(logits, rule);
  const tokens = allowedTokens(allowed, logits.length);
  const place = chooseToken(
    Float32Array.from(tokens, (token) => logits[token]),
    rule,
  );
  return place < 0 ? place : tokens[place];
}

/**
 * The token that a rule chooses: temperature, top-k, top-p, min-p, then the random number. Equal
 * logits go to the lower token. −1 when a logit is NaN or the largest is infinite.
 */
function chooseToken(logits: Float32Array, rule: Float64Array): number {
  const [temperature, topK, topP, minP, random] = rule;
  const best = largestIndex(logits);
  if (best < 0 || temperature === 0) return best;
  const inverse = 1 / temperature;
  // Probabilities up to their sum, the likeliest's exactly 1.
  const weigh = (token: number) => exponential((logits[token] - logits[best]) * inverse);
  let kept: Int32Array = new Int32Array(logits.length).map((_, token) => token);
  if (topK > 0 && topK < kept.length) kept = likeliest(logits, topK).sort();
  if (topP < 1) {
    const mass = topP * total(blockSums(Float64Array.from(kept, weigh)));
    kept = nucleus(likeliest(logits, kept.length), weigh, mass).sort();
  }
  if (minP > 0) kept = kept.filter((token) => weigh(token) >= minP);
  return kept[draw(Float64Array.from(kept, weigh), random)];
}

/** The first index of the largest value; −1 when a value is NaN or the largest is infinite. */
function largestIndex(values: Float32Array): number {
  let best = 0;
  for (let i = 0; i < values.length; i++) {
    if (Number.isNaN(values[i])) return -1;
    if (values[i] > values[best]) best = i;
  }
  return Number.isFinite(values[best]) ? best : -1;
}

/** The `count` tokens of the largest logits, likeliest first, the lower token of equals. */
export function likeliest(logits: Float32Array, count: number): Int32Array {
  const tokens = new Int32Array(logits.length).map((_, token) => token);
  return tokens.sort((a, b) => logits[b] - logits[a] || a - b).slice(0, count);
}

/** Σ exp(logit − largest) */
export function expSum(logits: Float32Array, largest: number): number {
  return total(blockSums(Float64Array.from(logits, (logit) => exponential(logit - largest))));
}

/** The fewest tokens, likeliest first, that reach a mass; at least one. */
function nucleus(tokens: Int32Array, weigh: (token: number) => number, mass: number): Int32Array {
  let reached = 0;
  const last = tokens.findIndex((token) => (reached += weigh(token)) >= mass);
  return last < 0 ? tokens : tokens.slice(0, last + 1);
}

/** The index at which the running sum of weights passes `random` of their total. */
function draw(weights: Float64Array, random: number): number {
  const sums = blockSums(weights);
  const block = passing(sums, random * total(sums));
  const first = block.index * SUM_BLOCK;
  return first + passing(weights.subarray(first, first + SUM_BLOCK), block.rest).index;
}

/**
 * The place where the running sum of values passes a target, and the target less the values before
 * that place. If the sum never passes the target, the place of the last value that is not 0.
 */
function passing(values: Float64Array, target: number): { index: number; rest: number } {
  let index = 0;
  let before = 0;
  let reached = 0;
  for (let i = 0; i < values.length && reached <= target; i++) {
    if (values[i] === 0) continue;
    index = i;
    before = reached;
    reached += values[i];
  }
  return { index, rest: target - before };
}

/** The sum of each block: eight lanes, then one fixed tree. */
function blockSums(values: Float64Array): Float64Array {
  const sums = new Float64Array(Math.ceil(values.length / SUM_BLOCK));
  const lanes = new Float64Array(8);
  for (let block = 0; block < sums.length; block++) {
    lanes.fill(0);
    const end = Math.min(values.length, (block + 1) * SUM_BLOCK);
    for (let i = block * SUM_BLOCK; i < end; i++) lanes[i % 8] += values[i];
    const [a, b, c, d, e, f, g, h] = lanes;
    sums[block] = a + e + (c + g) + (b + f + (d + h));
  }
  return sums;
}

function total(sums: Float64Array): number {
  return sums.reduce((sum, each) => sum + each, 0);
}
