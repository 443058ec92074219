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
  /** Tokens that are never chosen before so many have been generated. */
  readonly barred?: { readonly tokens: readonly number[]; readonly before: number };
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
