/** Micro-batches of a step that may be between their ranks at the same time. */
export const MICRO_BATCHES = 2;

/** What the ranks of a cluster say to each other, by channel; each keeps its own order. */
export const channels = {
  /** Ranks of a unit agree on their next step. */
  step: 0,
  /** KV on its way from a prefill rank to a decode rank. */
  transfer: 1,
  /** Rows of a micro-batch to the ranks that hold their experts. */
  dispatch: (microBatch: number): number => 2 + microBatch,
  /** Expert rows of a micro-batch, back to their home rank. */
  combine: (microBatch: number): number => 2 + MICRO_BATCHES + microBatch,
  /** Rows that came to another rank of the node, which passes them on. */
  fanOut: (microBatch: number): number => 2 + 2 * MICRO_BATCHES + microBatch,
  /** Carries nothing: who receives from a rank is told when it is lost. */
  loss: 2 + 3 * MICRO_BATCHES,
  /** A pipeline stage's outputs, to the rank of the next stage. */
  activations: 3 + 3 * MICRO_BATCHES,
  /** Gradients of a pipeline stage's inputs, to the rank of the stage before. */
  inputGradients: 4 + 3 * MICRO_BATCHES,
  /** Gradients of weights, to the rank with the other copy of the stages. */
  weightGradients: 5 + 3 * MICRO_BATCHES,
} as const;

/**
 * Messages between two ranks pass a link in the order sent where their channels are of one lane; lanes take
 * turns. A micro-batch's rows that set out first are needed first.
 */
export const laneOf = (channel: number): number =>
  channel >= channels.dispatch(0) && channel < channels.loss ? channels.dispatch(0) : channel;
