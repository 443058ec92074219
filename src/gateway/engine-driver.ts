import type { EngineStats, GenerationRequest, TimedEvent } from "../engine/index.ts";

/** What the gateway needs of an engine; the embedded `Engine` is one. */
export interface EngineDriver {
  /** Prompt and answer together, in tokens. */
  readonly maxModelLen: number;
  /** What ends the context, where that is not the model's length. */
  readonly limitedBy?: string | undefined;
  readonly vocabSize: number;
  /** Tokens that end an answer. */
  readonly eosTokens: readonly number[];
  /** Ends in `finished` or `failed`; aborting frees what the sequence holds. */
  generate(request: GenerationRequest, signal?: AbortSignal): AsyncIterable<TimedEvent>;
  stats(): Promise<EngineStats>;
}
