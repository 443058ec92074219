import type { TrafficCounts } from "../expert-parallel/index.ts";
import type { SamplingParameters, TokenLogprob } from "../kernels/index.ts";
import type { SpanBatch } from "../trace/index.ts";
import type { ContextCacheStats } from "../kv-cache/index.ts";

/** One sequence to generate; a request with n choices is n of these. */
export interface GenerationRequest {
  readonly id: string;
  /** Prefix reuse never crosses tenants. */
  readonly tenant: string;
  readonly prompt: Uint32Array;
  /** Keys of the prompt's full pages (`bytesOfKeys`), where they are known already. */
  readonly blockKeys?: Uint8Array;
  /** Index of the choice among n: part of the random number's counter. */
  readonly choice: number;
  readonly maxTokens: number;
  readonly stopTokens: readonly number[];
  readonly sampling: SamplingParameters;
  /** Alternatives reported with each token; undefined reports no logprobs. */
  readonly topLogprobs?: number;
}

/** A request as a program may make it: a plain list of token ids will do. */
export type AskedRequest = Omit<GenerationRequest, "prompt"> & {
  readonly prompt: Uint32Array | readonly number[];
};

/** `stop`: a stop token was generated (it is the last token event); `length`: maxTokens or context. */
export type FinishReason = "stop" | "length";

export type GenerationEvent =
  /** First computation has begun. `hitTokens`: prompt tokens answered by the prefix cache. */
  | { readonly kind: "started"; readonly hitTokens: number }
  | {
      readonly kind: "token";
      readonly token: number;
      /** Present when the request asked for logprobs. */
      readonly logprob?: number;
      readonly top: readonly TokenLogprob[];
    }
  | { readonly kind: "finished"; readonly reason: FinishReason }
  | { readonly kind: "failed"; readonly code: string; readonly message: string };

/** `time`: when the engine's client heard of it, in milliseconds by the client's clock. */
export type TimedEvent = GenerationEvent & { readonly time: number };

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
  /** Of ranks whose unit shares its experts. */
  readonly traffic?: TrafficCounts;
  /** Present when there is a context cache. */
  readonly contextCache?: ContextCacheStats;
  /** Why the rank computes no more; its counts are the last known. */
  readonly lost?: string;
}

/** What the worker is told. `handle` names a request among the live ones. */
export type EngineCommand =
  | {
      readonly kind: "generate";
      readonly handle: number;
      readonly request: GenerationRequest;
      /** Goes on there after the first token. */
      readonly decodeRank?: number;
    }
  /** A prefill rank will hand this request over. */
  | {
      readonly kind: "expect";
      readonly handle: number;
      readonly request: GenerationRequest;
      readonly prefillRank: number;
    }
  | { readonly kind: "cancel"; readonly handle: number }
  /** A report of events has been read. */
  | { readonly kind: "heard" }
  /** The unit's experts lie so from the first step on for which all its ranks know it. */
  | {
      readonly kind: "place";
      /** Ascending. */
      readonly version: number;
      readonly placement: readonly (readonly number[])[];
    };

/** What the worker is asked. */
export interface EngineQuestion {
  /** `flush`: the stats once the context cache has written what was computed so far. */
  readonly kind: "stats" | "flush";
  readonly question: number;
}

/** What a rank says unasked; all events of a step travel together. */
export type RankNews =
  | {
      readonly kind: "events";
      readonly events: readonly HandledEvent[];
      /** Of the rank's pool, after the step. */
      readonly pagesInUse?: number;
    }
  | { readonly kind: "spans"; readonly spans: SpanBatch };

/** What the worker says. */
export type EngineReport =
  | RankNews
  | { readonly kind: "ready"; readonly limits: EngineLimits }
  | { readonly kind: "stats"; readonly question: number; readonly stats: EngineStats }
  | { readonly kind: "refused"; readonly message: string };

export interface HandledEvent {
  readonly handle: number;
  readonly event: GenerationEvent;
}

/** What a request must fit. */
export interface EngineLimits {
  /** Prompt and generated tokens together. */
  readonly maxModelLen: number;
  readonly vocabSize: number;
  readonly eosTokens: readonly number[];
  /** Pages of the rank's pool. */
  readonly pages: number;
}
