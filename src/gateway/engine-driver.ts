import type { EngineStats, GenerationRequest, MaskSource, TimedEvent } from "../engine/index.ts";

/** What the gateway needs of an engine; the embedded `Engine` is one. */
export interface EngineDriver {
  /** Prompt and answer together, in tokens. */
  readonly maxModelLen: number;
  /** What ends the context, where that is not the model's length. */
  readonly limitedBy?: string | undefined;
  readonly vocabSize: number;
  /** Tokens that end an answer. */
  readonly eosTokens: readonly number[];
  /**
   * Ends in `finished` or `failed`; aborting frees what the sequence holds. `masks` says what may come
   * after each token of a request that has a mask.
   */
  generate(
    request: GenerationRequest,
    signal?: AbortSignal,
    masks?: MaskSource,
  ): AsyncIterable<TimedEvent>;
  stats(): Promise<EngineStats>;
}
