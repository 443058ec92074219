import type { KvLayer, StepLayout } from "../../kernels/index.ts";

/** What one step computes: rows of one or more sequences, prompt chunks and single tokens alike. */
export interface StepBatch extends StepLayout {
  /** [rows] */
  readonly tokens: Int32Array;
  /** Rows whose logits are wanted. */
  readonly logitRows: Int32Array;
}

/** The rank's KV pool as a step sees it: one cache per layer, pages numbered alike in all. */
export interface KvPool {
  readonly layers: readonly KvLayer[];
  /** Values of an entry: latent and rotated key. */
  readonly width: number;
}
