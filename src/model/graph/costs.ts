import type { ModelConfig } from "../checkpoint/index.ts";

/** Multiply-adds of a forward pass with absorbed attention. */
export interface ForwardCosts {
  /** Everything that grows with the tokens alone: projections, experts, the gate. */
  readonly perToken: number;
  /** Core attention of one (query, key) pair in all layers and heads. */
  readonly perAttentionPair: number;
}

/** DeepSeek-V2, section 2.1, and DeepSeek-V3, section 2.1; embedding and head are left out. */
export function forwardCosts(config: ModelConfig): ForwardCosts {
  const { hiddenSize, heads, latentRank, ropeWidth, nopeWidth, valueWidth, queryRank } = config;
  const queryWidth = heads * (nopeWidth + ropeWidth);
  const query =
    queryRank === undefined
      ? hiddenSize * queryWidth
      : hiddenSize * queryRank + queryRank * queryWidth;
  const attention =
    query +
    hiddenSize * (latentRank + ropeWidth) +
    heads * (nopeWidth + valueWidth) * latentRank +
    heads * valueWidth * hiddenSize;
  const experts = config.gate.topK + config.sharedExperts;
  const moe = 3 * hiddenSize * config.expertWidth * experts + hiddenSize * config.gate.experts;
  const dense = 3 * hiddenSize * config.denseWidth;
  const moeLayers = config.layers - config.firstDense;
  return {
    perToken: config.layers * attention + config.firstDense * dense + moeLayers * moe,
    perAttentionPair: config.layers * heads * (2 * latentRank + ropeWidth),
  };
}
