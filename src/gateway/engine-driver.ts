import type { EngineStats, GenerationRequest, TimedEvent } from "../engine/index.ts";

/** What the gateway needs of an engine; the embedded `Engine` is one. */
export interface EngineDriver {
  /** Prompt and answer together, in tokens. */
  readonly maxModelLen: number;
  readonly vocabSize: number;
  /** Tokens that end an answer. */
  readonly eosTokens: readonly number[];
  /** Ends in `finished` or `failed`; aborting frees what the sequence holds. */
  generate(request: GenerationRequest, signal?: AbortSignal): AsyncIterable<TimedEvent>;
  stats(): Promise<EngineStats>;
}
