import type { KvLayer, MlaShape, Rope, StepLayout, Stream } from "../../kernels/index.ts";
import type { ModelConfig } from "../checkpoint/index.ts";
import { ropeOf, softmaxScale } from "./rope.ts";
import type { AttentionWeights } from "../checkpoint/index.ts";
import type { Workspace } from "./workspace.ts";

/**
 * Multi-head latent attention (DeepSeek-V2, section 2.1), absorbed for every token, prompt or
 * generated: queries move into the latent space and read the cache as it lies.
 */
export class LatentAttention {
  readonly shape: MlaShape;
  readonly #rope: Rope;
  readonly #normEpsilon: number;

  constructor(config: ModelConfig) {
    this.shape = {
      heads: config.heads,
      nope: config.nopeWidth,
      rope: config.ropeWidth,
      value: config.valueWidth,
      latent: config.latentRank,
      scale: softmaxScale(config),
    };
    this.#rope = ropeOf(config);
    this.#normEpsilon = config.latentNormEpsilon;
  }

  /** w.query and w.absorbed = queries of w.normed; the rows' own KV is written. */
  project(
    stream: Stream,
    w: Workspace,
    weights: AttentionWeights,
    cache: KvLayer,
    layout: StepLayout,
  ): void {
    const { rows } = layout;
    this.#projectQuery(stream, w, weights, rows);
    stream.ropeQuery(w.query, this.shape, this.#rope, layout);
    this.#store(stream, w, weights, cache, layout);
    stream.absorbQuery(w.absorbed, w.query, weights.kvB, this.shape, rows);
  }

  /** w.update = attention of the queries over each row's context */
  attend(
    stream: Stream,
    w: Workspace,
    weights: AttentionWeights,
    cache: KvLayer,
    layout: StepLayout,
  ): void {
    const { rows } = layout;
    stream.attention(w.latentSum, w.absorbed, w.query, cache, this.shape, layout);
    stream.projectValue(w.attended, w.latentSum, weights.kvB, this.shape, rows);
    w.project(stream, w.attended, rows, { out: w.update, weight: weights.output });
  }

  /** Writes the rows' KV alone: rows that nothing is wanted of but that others see them. */
  writeKv(
    stream: Stream,
    w: Workspace,
    weights: AttentionWeights,
    cache: KvLayer,
    layout: StepLayout,
  ): void {
    w.project(stream, w.normed, layout.rows, { out: w.keyLatent, weight: weights.kvA });
    this.#store(stream, w, weights, cache, layout);
  }

  #store(
    stream: Stream,
    { keyLatent }: Workspace,
    { kvANorm }: AttentionWeights,
    cache: KvLayer,
    layout: StepLayout,
  ): void {
    const epsilon = this.#normEpsilon;
    stream.writeKv(cache, keyLatent, kvANorm, epsilon, this.shape, this.#rope, layout);
  }

  /** Queries and the key latent, which read the same rows; queries pass through their own latent. */
  #projectQuery(stream: Stream, w: Workspace, weights: AttentionWeights, rows: number): void {
    const key = { out: w.keyLatent, weight: weights.kvA };
    const { query } = weights;
    if (query.kind === "direct") {
      w.project(stream, w.normed, rows, { out: w.query, weight: query.weight }, key);
      return;
    }
    w.project(stream, w.normed, rows, { out: w.queryLatent, weight: query.a }, key);
    stream.rmsNorm(w.queryLatentNormed, w.queryLatent, query.norm, this.#normEpsilon, rows);
    w.project(stream, w.queryLatentNormed, rows, { out: w.query, weight: query.b });
  }
}
