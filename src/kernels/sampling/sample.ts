import { adjustedLogits, expSum, likeliest, sampleRows } from "./choose.ts";
import { allows } from "./mask.ts";
import type { SamplingParameters } from "./parameters.ts";
import { uniform } from "./random.ts";
import { SamplingState } from "./state.ts";
import { logarithm } from "../elementary.ts";
import type { SampledRows, SamplingRows, Stream, TokenMask } from "../stream.ts";

export interface TokenLogprob {
  readonly token: number;
  readonly logprob: number;
}

/** The arguments of a token's choice besides parameters and logits. */
export interface SampleContext {
  /** Prompt and generated tokens. */
  readonly tokens: ArrayLike<number> & Iterable<number>;
  readonly promptLength: number;
  /** Index of the choice among n. */
  readonly choice: number;
}

/** How the next token of one row is chosen, and what is reported with the token. */
export interface TokenChoice extends SampleContext {
  readonly parameters: SamplingParameters;
  /** Of the sequence, for its parameters; without it, the choice gets one of its own. */
  readonly state?: SamplingState;
  /** What it may be; without it, any token. */
  readonly mask?: TokenMask | undefined;
  /** Alternatives reported with the token; undefined reports no log-probabilities. */
  readonly topLogprobs?: number | undefined;
}

export interface ChosenToken {
  readonly token: number;
  /** Present when log-probabilities were asked for. */
  readonly logprob?: number;
  readonly top: readonly TokenLogprob[];
}

const GREEDY_BELOW = 1e-5;

/** The choices of a step's rows: the stream's arguments and its results. */
export class StepSampling {
  readonly #choices: readonly TokenChoice[];
  readonly #rows: SamplingRows;
  readonly #out: SampledRows;
  #logits: Float32Array = new Float32Array(0);
  #vocabSize = 0;

  /** Tokens from `usable` on are never chosen; penalties and biases of them have no effect. */
  constructor(choices: readonly TokenChoice[], usable: number) {
    const wanted = choices.map(({ topLogprobs }) => likeliestFor(topLogprobs, usable));
    const most = Math.max(0, ...wanted);
    this.#choices = choices;
    this.#rows = {
      usable,
      rules: Float64Array.from(choices.flatMap((choice, row) => ruleOf(choice, wanted[row]))),
      adjustments: choices.map((choice) =>
        stateOf(choice).adjustmentsAfter(choice.tokens, choice.mask),
      ),
    };
    this.#out = {
      tokens: new Int32Array(choices.length),
      sums: new Float64Array(choices.length),
      most,
      likeliest: new Int32Array(choices.length * most),
    };
  }

  /** Enqueues the choices from logits [rows, vocabSize], which must last until they are read. */
  enqueue(stream: Pick<Stream, "sample">, logits: Float32Array, vocabSize: number): void {
    this.#logits = logits;
    this.#vocabSize = vocabSize;
    stream.sample(this.#out, logits, vocabSize, this.#rows, this.#choices.length);
  }

  /**
   * A row's token, once the stream is done.
   * @throws RangeError when a logit is NaN or the largest is infinite
   */
  chosen(row: number): ChosenToken {
    const { tokens, sums, most, likeliest: order } = this.#out;
    const { usable } = this.#rows;
    const logits = this.#logits.subarray(row * this.#vocabSize).subarray(0, usable);
    const token = tokens[row];
    const { mask, topLogprobs } = this.#choices[row];
    if (token < 0) throw problemWith(adjustedLogits(logits, this.#rows, row), mask);
    if (topLogprobs === undefined) return { token, top: [] };
    const best = order.subarray(row * most, row * most + likeliestFor(topLogprobs, usable));
    return { token, ...reported(logits, token, topLogprobs, best, sums[row]) };
  }
}

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
  const step = new StepSampling([{ ...context, parameters }], logits.length);
  step.enqueue({ sample: sampleRows }, logits, logits.length);
  return step.chosen(0).token;
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
  const best = likeliest(logits, likeliestFor(count, logits.length));
  return reported(logits, token, count, best, expSum(logits, logits[best[0]]));
}

/** Tokens the stream finds for log-probabilities: their normaliser needs the likeliest. */
function likeliestFor(topLogprobs: number | undefined, usable: number): number {
  return topLogprobs === undefined ? 0 : Math.min(Math.max(1, topLogprobs), usable);
}

function reported(
  logits: Float32Array,
  token: number,
  count: number,
  best: Int32Array,
  sum: number,
): { logprob: number; top: TokenLogprob[] } {
  const normaliser = logits[best[0]] + logarithm(sum);
  const of = (index: number) => Math.fround(logits[index] - normaliser);
  const top = Array.from(best.subarray(0, count), (index) => ({
    token: index,
    logprob: of(index),
  }));
  return { logprob: of(token), top };
}

/** A row of SamplingRows.rules. */
function ruleOf({ parameters, choice, tokens }: TokenChoice, wanted: number): number[] {
  const { temperature, topK, topP, minP, seed } = parameters;
  const { repetitionPenalty, presencePenalty, frequencyPenalty } = parameters;
  const random = uniform(seed, choice, tokens.length);
  return [
    ...[temperature < GREEDY_BELOW ? 0 : temperature, topK, topP, minP, random, wanted],
    ...[repetitionPenalty, presencePenalty, frequencyPenalty],
  ];
}

/** States of choices that brought none, which may be asked for again. */
const ownStates = new WeakMap<TokenChoice, SamplingState>();

function stateOf(choice: TokenChoice): SamplingState {
  if (choice.state) return choice.state;
  const { parameters, promptLength, tokens } = choice;
  const state = ownStates.get(choice) ?? new SamplingState(parameters, promptLength);
  ownStates.set(choice, state);
  for (let i = state.length; i < tokens.length; i++) state.append(tokens[i]);
  return state;
}

function problemWith(logits: Float32Array, mask: TokenMask | undefined): RangeError {
  const seen = logits.map((logit, token) => (!mask || allows(mask, token) ? logit : -Infinity));
  const wrong = seen.findIndex(Number.isNaN);
  if (wrong >= 0) return new RangeError(`logits: token ${wrong}'s is not a number`);
  const largest = seen.reduce((most, logit) => Math.max(most, logit));
  return new RangeError(`logits: expected a finite maximum, got ${largest}`);
}
