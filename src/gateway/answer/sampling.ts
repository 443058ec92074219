import type { SamplingParameters } from "../../engine/index.ts";
import { invalidValue } from "../errors.ts";
import type { SharedRequest } from "../wire.ts";

/** What a checkpoint's generation_config.json recommends, used where a request is silent. */
export interface SamplingDefaults {
  readonly temperature?: number;
  readonly topP?: number;
  readonly topK?: number;
  readonly minP?: number;
  readonly repetitionPenalty?: number;
}

/** What a request's tokens are checked against. */
interface Tokens {
  readonly vocabSize: number;
  /** They end an answer. */
  readonly eosTokens: readonly number[];
}

/**
 * A request's sampling parameters; `drawSeed` gives an unseeded one its seed.
 * @throws ApiError when logit_bias or stop_token_ids name a token outside the vocabulary.
 */
export function samplingOf(
  request: SharedRequest,
  defaults: SamplingDefaults,
  tokens: Tokens,
  drawSeed: () => number,
): SamplingParameters {
  const logitBias: Record<number, number> = {};
  for (const [token, bias] of Object.entries(request.logit_bias ?? {})) {
    assertToken(Number(token), "logit_bias", tokens);
    logitBias[Number(token)] = bias;
  }
  for (const token of request.stop_token_ids ?? []) assertToken(token, "stop_token_ids", tokens);
  const barred = barredTokens(request, tokens);
  return {
    temperature: request.temperature ?? defaults.temperature ?? 1,
    topP: request.top_p ?? defaults.topP ?? 1,
    topK: Math.max(0, request.top_k ?? defaults.topK ?? 0),
    minP: request.min_p ?? defaults.minP ?? 0,
    presencePenalty: request.presence_penalty ?? 0,
    frequencyPenalty: request.frequency_penalty ?? 0,
    repetitionPenalty: request.repetition_penalty ?? defaults.repetitionPenalty ?? 1,
    logitBias,
    ...(barred ? { barred } : {}),
    seed: request.seed ?? drawSeed(),
  };
}

/** Tokens that would end the answer too early. */
function barredTokens(
  { ignore_eos, min_tokens, stop_token_ids }: SharedRequest,
  { eosTokens }: Tokens,
): SamplingParameters["barred"] {
  if (ignore_eos) return { tokens: eosTokens, before: Number.MAX_SAFE_INTEGER };
  if (!min_tokens) return undefined;
  return { tokens: [...eosTokens, ...(stop_token_ids ?? [])], before: min_tokens };
}

function assertToken(token: number, param: string, { vocabSize }: Tokens): void {
  if (token < vocabSize) return;
  throw invalidValue(param, `${param}: expected token ids below ${vocabSize}, got ${token}`);
}
