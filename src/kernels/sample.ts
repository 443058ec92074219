import { uniform } from "./random.ts";

/** How the next token is chosen; a pure function of this, the logits and the tokens so far. */
export interface SamplingParameters {
  /** 0 is greedy. */
  readonly temperature: number;
  readonly topP: number;
  /** 0 keeps all. */
  readonly topK: number;
  readonly minP: number;
  readonly presencePenalty: number;
  readonly frequencyPenalty: number;
  /** 1 changes nothing. */
  readonly repetitionPenalty: number;
  readonly logitBias: Readonly<Record<number, number>>;
  /** Drawn at admission when the client gives none. */
  readonly seed: number;
}

export const greedySampling: SamplingParameters = {
  temperature: 0,
  topP: 1,
  topK: 0,
  minP: 0,
  presencePenalty: 0,
  frequencyPenalty: 0,
  repetitionPenalty: 1,
  logitBias: {},
  seed: 0,
};

export interface TokenLogprob {
  readonly token: number;
  readonly logprob: number;
}

/** What a token's choice depends on besides parameters and logits. */
export interface SampleContext {
  /** Prompt and generated tokens. */
  readonly tokens: readonly number[];
  readonly promptLength: number;
  /** Index of the choice among n. */
  readonly choice: number;
}

const GREEDY_BELOW = 1e-5;

/**
 * Chooses the next token: penalties and biases, temperature, top-k, top-p, min-p, then one random
 * number. Equal logits go to the lower token. Presence and frequency count generated tokens, the
 * repetition penalty counts the prompt too, as vLLM does. `logits` may be cut to the tokens that
 * may be chosen; penalties and biases of tokens beyond them have no effect.
 * @throws RangeError when a logit is NaN or the largest is infinite.
 */
export function sample(
  logits: Float32Array,
  parameters: SamplingParameters,
  context: SampleContext,
): number {
  const adjusted = adjust(logits, parameters, context);
  const best = largestIndex(adjusted);
  if (parameters.temperature < GREEDY_BELOW) return best;
  const weights = softmaxWeights(adjusted, adjusted[best], parameters.temperature);
  const random = uniform(parameters.seed, context.choice, context.tokens.length);
  return draw(keepLikely(weights, parameters), random);
}

/**
 * Log-probability of a token and of the likeliest `count`, from the logits as the model gave them
 * (before penalties and temperature, as vLLM reports them).
 */
export function logprobs(
  logits: Float32Array,
  token: number,
  count: number,
): { logprob: number; top: TokenLogprob[] } {
  const maximum = logits[largestIndex(logits)];
  let sum = 0;
  for (let i = 0; i < logits.length; i++) sum += Math.exp(logits[i] - maximum);
  const normaliser = maximum + Math.log(sum);
  const of = (index: number) => Math.fround(logits[index] - normaliser);
  const top = largestIndices(logits, count).map((index) => ({ token: index, logprob: of(index) }));
  return { logprob: of(token), top };
}

function adjust(
  logits: Float32Array,
  parameters: SamplingParameters,
  { tokens, promptLength }: SampleContext,
): Float32Array {
  const { presencePenalty, frequencyPenalty, repetitionPenalty, logitBias } = parameters;
  const adjusted = logits.slice();
  if (repetitionPenalty !== 1) {
    for (const token of new Set(tokens)) {
      if (adjusted[token] > 0) adjusted[token] /= repetitionPenalty;
      else adjusted[token] *= repetitionPenalty;
    }
  }
  if (presencePenalty !== 0 || frequencyPenalty !== 0) {
    const counts = new Map<number, number>();
    for (let i = promptLength; i < tokens.length; i++) {
      counts.set(tokens[i], (counts.get(tokens[i]) ?? 0) + 1);
    }
    for (const [token, count] of counts) {
      adjusted[token] -= presencePenalty + count * frequencyPenalty;
    }
  }
  for (const [token, bias] of Object.entries(logitBias)) adjusted[Number(token)] += bias;
  return adjusted;
}

function largestIndex(values: Float32Array): number {
  let best = 0;
  for (let i = 0; i < values.length; i++) {
    if (Number.isNaN(values[i])) throw new RangeError(`logits: token ${i}'s is not a number`);
    if (values[i] > values[best]) best = i;
  }
  if (Number.isFinite(values[best])) return best;
  throw new RangeError(`logits: expected a finite maximum, got ${values[best]}`);
}

/** exp((logit − maximum) / temperature): probabilities up to their sum, the largest exactly 1. */
function softmaxWeights(logits: Float32Array, maximum: number, temperature: number): Float64Array {
  const weights = new Float64Array(logits.length);
  for (let i = 0; i < weights.length; i++) {
    weights[i] = Math.exp((logits[i] - maximum) / temperature);
  }
  return weights;
}

/** The weights with those that top-k, top-p and min-p drop set to 0. */
function keepLikely(weights: Float64Array, parameters: SamplingParameters): Float64Array {
  const { topK, topP, minP } = parameters;
  let kept = weights;
  if (topK > 0 && topK < kept.length) kept = only(kept, largestIndices(kept, topK));
  if (topP < 1) kept = only(kept, nucleus(kept, topP * sumOf(kept)));
  // The largest weight is 1.
  return minP > 0 ? kept.map((weight) => (weight >= minP ? weight : 0)) : kept;
}

function only(weights: Float64Array, tokens: readonly number[]): Float64Array {
  const kept = new Float64Array(weights.length);
  for (const token of tokens) kept[token] = weights[token];
  return kept;
}

/** The fewest tokens, likeliest first, that reach a mass; never none. */
function nucleus(weights: Float64Array, mass: number): number[] {
  const kept: number[] = [];
  let reached = 0;
  for (const token of largestFirst(weights)) {
    kept.push(token);
    reached += weights[token];
    if (reached >= mass) break;
  }
  return kept;
}

/** The token at which the running sum of weights passes `random` of their total. */
function draw(weights: Float64Array, random: number): number {
  const target = random * sumOf(weights);
  let reached = 0;
  let token = 0;
  for (let i = 0; i < weights.length; i++) {
    if (weights[i] === 0) continue;
    token = i;
    reached += weights[i];
    if (reached > target) break;
  }
  return token;
}

function sumOf(values: Float64Array): number {
  let sum = 0;
  for (let i = 0; i < values.length; i++) sum += values[i];
  return sum;
}

/** Indices of the `count` largest values, largest first, the lower index of equals. */
function largestIndices(values: Float32Array | Float64Array, count: number): number[] {
  const indices: number[] = [];
  if (count === 0) return indices;
  for (const index of largestFirst(values)) {
    indices.push(index);
    if (indices.length === count) break;
  }
  return indices;
}

/**
 * All indices, largest value first, the lower index of equals: a heap emptied as far as the caller
 * reads, so that a few of a large vocabulary cost one pass over it, not a sort.
 */
function* largestFirst(values: Float32Array | Float64Array): Generator<number> {
  const heap = new Int32Array(values.length).map((_, i) => i);
  const precedes = (a: number, b: number) =>
    values[a] > values[b] || (values[a] === values[b] && a < b);
  const sink = (root: number, size: number) => {
    const index = heap[root];
    for (let child = 2 * root + 1; child < size; child = 2 * root + 1) {
      if (child + 1 < size && precedes(heap[child + 1], heap[child])) child++;
      if (precedes(index, heap[child])) break;
      heap[root] = heap[child];
      root = child;
    }
    heap[root] = index;
  };
  for (let root = (heap.length >> 1) - 1; root >= 0; root--) sink(root, heap.length);
  for (let size = heap.length; size > 0; size--) {
    yield heap[0];
    heap[0] = heap[size - 1];
    sink(0, size - 1);
  }
}
