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

/** One sequence to generate; a request with n choices is n of these. */
export interface GenerationRequest {
  readonly id: string;
  /** Prefix reuse never crosses tenants. */
  readonly tenant: string;
  readonly prompt: readonly number[];
  /** Index of the choice among n: part of the random number's counter. */
  readonly choice: number;
  readonly maxTokens: number;
  readonly stopTokens: readonly number[];
  readonly sampling: SamplingParameters;
  /** Alternatives reported with each token; undefined reports no logprobs. */
  readonly topLogprobs?: number;
}

export interface TokenLogprob {
  readonly token: number;
  readonly logprob: number;
}

/** `stop`: a stop token was generated (it is the last token event); `length`: maxTokens or context. */
export type FinishReason = "stop" | "length";

export type GenerationEvent =
  /** First computation has begun. `hitTokens`: prompt tokens answered by the prefix cache. */
  | { readonly kind: "started"; readonly hitTokens: number }
  | {
      readonly kind: "token";
      readonly token: number;
      readonly logprob: number;
      readonly top: readonly TokenLogprob[];
    }
  | { readonly kind: "finished"; readonly reason: FinishReason }
  | { readonly kind: "failed"; readonly code: string; readonly message: string };

/** A moment of the engine, for health, metrics and tests. */
export interface EngineStats {
  readonly waiting: number;
  readonly running: number;
  readonly pages: number;
  /** Pages neither free nor merely kept for reuse. */
  readonly pagesInUse: number;
  /** Pages no request uses that hold prefixes which may be reused. */
  readonly pagesCached: number;
  readonly steps: number;
  readonly promptTokens: number;
  readonly hitTokens: number;
  readonly generatedTokens: number;
  readonly preemptions: number;
}
