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
 * repetition penalty counts the prompt too, as vLLM does.
 */
export function sample(
  logits: Float32Array,
  parameters: SamplingParameters,
  context: SampleContext,
): number {
  const adjusted = adjust(logits, parameters, context);
  if (parameters.temperature < GREEDY_BELOW) return largestIndex(adjusted);
  const weights = softmaxWeights(adjusted, parameters.temperature);
  const candidates = keepLikely(weights, parameters);
  let total = 0;
  for (const token of candidates) total += weights[token];
  const { tokens, choice } = context;
  const target = uniform(parameters.seed, choice, tokens.length) * total;
  let reached = 0;
  for (const token of candidates) {
    reached += weights[token];
    if (reached > target) return token;
  }
  return candidates[candidates.length - 1];
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
  let maximum = -Infinity;
  for (const logit of logits) maximum = Math.max(maximum, logit);
  let sum = 0;
  for (const logit of logits) sum += Math.exp(logit - maximum);
  const normaliser = maximum + Math.log(sum);
  const top = count === 0 ? [] : largestIndices(logits, count);
  return {
    logprob: Math.fround(logits[token] - normaliser),
    top: top.map((index) => ({ token: index, logprob: Math.fround(logits[index] - normaliser) })),
  };
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
      adjusted[token] *= adjusted[token] > 0 ? 1 / repetitionPenalty : repetitionPenalty;
    }
  }
  if (presencePenalty !== 0 || frequencyPenalty !== 0) {
    const generated = tokens.slice(promptLength);
    for (const token of generated) adjusted[token] -= frequencyPenalty;
    for (const token of new Set(generated)) adjusted[token] -= presencePenalty;
  }
  for (const [token, bias] of Object.entries(logitBias)) adjusted[Number(token)] += bias;
  return adjusted;
}

function largestIndex(values: Float32Array): number {
  let best = 0;
  for (let i = 1; i < values.length; i++) if (values[i] > values[best]) best = i;
  return best;
}

/** exp((logit − maximum) / temperature): probabilities up to their sum. */
function softmaxWeights(logits: Float32Array, temperature: number): Float64Array {
  const maximum = logits[largestIndex(logits)];
  return Float64Array.from(logits, (logit) => Math.exp((logit - maximum) / temperature));
}

/** The tokens top-k, top-p and min-p leave, in the order the random number walks them. */
function keepLikely(weights: Float64Array, parameters: SamplingParameters): readonly number[] {
  const { topK, topP, minP } = parameters;
  const limited = topK > 0 && topK < weights.length;
  let kept = limited ? largestIndices(weights, topK) : [...weights.keys()];
  if (topP < 1) {
    let total = 0;
    for (const token of kept) total += weights[token];
    // Tokens below this share sum to less than 1 − topP, so the nucleus lies above it.
    const floor = ((1 - topP) * total) / weights.length;
    const likely = kept.filter((token) => weights[token] >= floor);
    kept = nucleus(weights, limited ? likely : byWeight(weights, likely), topP * total);
  }
  // The largest weight is exp(0) = 1.
  return minP > 0 ? kept.filter((token) => weights[token] >= minP) : kept;
}

/** The shortest run of ordered tokens that reaches a mass; never empty. */
function nucleus(weights: Float64Array, ordered: number[], mass: number): number[] {
  let reached = 0;
  const end = ordered.findIndex((token) => (reached += weights[token]) >= mass);
  return end < 0 ? ordered : ordered.slice(0, end + 1);
}

function byWeight(weights: ArrayLike<number>, tokens: number[]): number[] {
  return tokens.sort((a, b) => weights[b] - weights[a] || a - b);
}

/** Indices of the `count` largest values, largest first, the lower index of equals. */
function largestIndices(values: Float32Array | Float64Array, count: number): number[] {
  const threshold = values.slice().sort()[Math.max(0, values.length - count)];
  const above: number[] = [];
  const equal: number[] = [];
  for (let i = 0; i < values.length; i++) {
    if (values[i] > threshold) above.push(i);
    else if (values[i] === threshold && equal.length < count) equal.push(i);
  }
  return byWeight(values, above).concat(equal).slice(0, count);
}
