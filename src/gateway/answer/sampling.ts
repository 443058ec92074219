import type { SamplingParameters } from "../../engine/index.ts";
import { invalidValue } from "../errors.ts";
import type { SharedRequest } from "../wire.ts";

/** What a checkpoint's generation_config.json recommends, used where a request is silent. */
export interface SamplingDefaults {
  readonly temperature: number;
  readonly topP: number;
}

/**
 * A request's sampling parameters; `drawSeed` gives an unseeded one its seed.
 * @throws ApiError when logit_bias names a token outside the vocabulary.
 */
export function samplingOf(
  request: SharedRequest,
  defaults: SamplingDefaults,
  vocabSize: number,
  drawSeed: () => number,
): SamplingParameters {
  const logitBias: Record<number, number> = {};
  for (const [token, bias] of Object.entries(request.logit_bias ?? {})) {
    if (Number(token) >= vocabSize) {
      const message = `logit_bias: expected token ids below ${vocabSize}, got ${token}`;
      throw invalidValue("logit_bias", message);
    }
    logitBias[Number(token)] = bias;
  }
  return {
    temperature: request.temperature ?? defaults.temperature,
    topP: request.top_p ?? defaults.topP,
    topK: Math.max(0, request.top_k ?? 0),
    minP: request.min_p ?? 0,
    presencePenalty: request.presence_penalty ?? 0,
    frequencyPenalty: request.frequency_penalty ?? 0,
    repetitionPenalty: request.repetition_penalty ?? 1,
    logitBias,
    seed: request.seed ?? drawSeed(),
  };
}
