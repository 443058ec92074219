import {
  allocate,
  StepSampling,
  storedOperand,
  type ChosenToken,
  type TokenChoice,
} from "../../kernels/index.ts";
import { nullTracer } from "../../trace/index.ts";
import type { ModelWeights, MtpWeights } from "../checkpoint/index.ts";
import { MicroBatch, type LayerContext } from "./micro-batch.ts";
import { passLayers } from "./overlap.ts";
import { LocalExperts } from "./routed-experts.ts";
import type { KvPool, StepBatch } from "./step.ts";
import type { Workspace } from "./workspace.ts";

/**
 * Rows of the MTP layer, each a token and the state before it. Logit rows are those after which a
 * token is drafted.
 */
export interface MtpBatch extends StepBatch {
  /**
   * What the head reads one position earlier: of the trunk, or of this layer where drafts follow one
   * another; zero before the first position. [rows, hidden]
   */
  readonly states: Float32Array;
}

export interface DraftOptions {
  /** One for each of the batch's logit rows. */
  readonly choices: readonly TokenChoice[];
  /** Tokens from here on are never chosen. */
  readonly usableTokens: number;
  /** Rows before the batch's that have no KV yet. */
  readonly owed: readonly MtpBatch[];
}

export interface Drafted {
  /** By logit row. @throws RangeError when a logit is NaN or the largest is infinite */
  readonly chosen: (row: number) => ChosenToken;
  /** The layer's own states of the logit rows, valid until the stream's next use. [.., hidden] */
  readonly states: Float32Array;
}

/**
 * The multi-token-prediction layer (DeepSeek-V3, section 2.2): from a token and the trunk's state
 * before it, it predicts the token after. Its KV lies in a plane behind the trunk's layers. Its experts
 * are all computed on this rank, so that a rank drafts when it likes, and waits for no other.
 */
export class Mtp {
  /** Where the KV lies in a pool. */
  readonly plane: number;
  readonly maxRows: number;
  /** The trunk's states of the last step's rows: what its head reads. [maxRows, hidden] */
  readonly trunk: Float32Array;
  readonly #weights: MtpWeights;
  readonly #outer: Pick<ModelWeights, "embed" | "head">;
  readonly #layers: LayerContext;
  readonly #workspace: Workspace;
  /** Norms of embeddings, then those of states. [2 × maxRows, hidden] */
  readonly #normed: Float32Array;
  /** [maxRows, 2 × hidden] */
  readonly #pairs: Float32Array;

  constructor(
    weights: MtpWeights,
    outer: Pick<ModelWeights, "embed" | "head">,
    layers: LayerContext,
    workspace: Workspace,
    maxRows: number,
  ) {
    const { config, stream } = layers;
    const experts = new LocalExperts(stream, config.gate, maxRows, nullTracer);
    this.plane = config.layers;
    this.maxRows = maxRows;
    this.trunk = allocate(Float32Array, maxRows * config.hiddenSize);
    this.#weights = weights;
    this.#outer = outer;
    this.#layers = { ...layers, experts, tracer: nullTracer };
    this.#workspace = workspace;
    this.#normed = allocate(Float32Array, 2 * maxRows * config.hiddenSize);
    this.#pairs = allocate(Float32Array, 2 * maxRows * config.hiddenSize);
  }

  /** Logits [batch.logitRows, vocabulary], valid until the stream's next use. */
  async forward(batch: MtpBatch, pool: KvPool): Promise<Float32Array> {
    return this.#fenced(() => this.#enqueue(batch, pool));
  }

  /** Writes the rows' KV, which takes only the layer's beginning, since there is no layer behind it. */
  async write(batches: readonly MtpBatch[], pool: KvPool): Promise<void> {
    await this.#fenced(async () => this.#enqueueWrites(batches, pool));
  }

  /**
   * Chooses a token after each of the batch's logit rows, just as the trunk's would be chosen. First
   * it writes the KV of rows that it is owed.
   */
  async draft(
    batch: MtpBatch,
    pool: KvPool,
    { choices, usableTokens, owed }: DraftOptions,
  ): Promise<Drafted> {
    const { stream, config } = this.#layers;
    const sampling = new StepSampling(choices, usableTokens);
    await this.#fenced(async () => {
      this.#enqueueWrites(owed, pool);
      sampling.enqueue(stream, await this.#enqueue(batch, pool), config.vocabSize);
    });
    return { chosen: (row) => sampling.chosen(row), states: this.#workspace.normed };
  }

  /** What fails leaves nothing on the stream. */
  async #fenced<Result>(enqueue: () => Promise<Result>): Promise<Result> {
    const { stream } = this.#layers;
    try {
      const result = await enqueue();
      await stream.fence();
      return result;
    } catch (error) {
      stream.reset();
      throw error;
    }
  }

  #enqueueWrites(batches: readonly MtpBatch[], pool: KvPool): void {
    const { stream, config, attention } = this.#layers;
    const w = this.#workspace;
    const { layer } = this.#weights;
    for (const batch of batches) {
      this.#project(batch);
      stream.rmsNorm(w.normed, w.hidden, layer.inputNorm, config.normEpsilon, batch.rows);
      attention.writeKv(stream, w, layer.attention, pool.layers[this.plane], batch);
    }
  }

  async #enqueue(batch: MtpBatch, pool: KvPool): Promise<Float32Array> {
    const { stream, config } = this.#layers;
    const w = this.#workspace;
    const { hiddenSize, normEpsilon } = config;
    const { logitRows } = batch;
    this.#project(batch);
    const { layer, outputNorm } = this.#weights;
    const plane = { index: this.plane, weights: layer, cache: pool.layers[this.plane] };
    await passLayers([plane], { b: new MicroBatch(this.#layers, w, batch) }, "whole");
    const count = logitRows.length;
    const hidden = storedOperand(w.hidden, hiddenSize);
    const logits = w.logits(count);
    stream.gather(storedOperand(w.update, hiddenSize), hidden, logitRows, count);
    stream.rmsNorm(w.normed, w.update, outputNorm, normEpsilon, count);
    w.project(stream, w.normed, count, { out: logits, weight: this.#outer.head });
    return logits;
  }

  /** w.hidden = eh_proj · [norm(embedding of the token); norm(state before it)] */
  #project({ rows, tokens, states }: MtpBatch): void {
    const { stream, config } = this.#layers;
    const w = this.#workspace;
    const { hiddenSize, normEpsilon } = config;
    const { tokenNorm, stateNorm, projection } = this.#weights;
    if (rows > this.maxRows) {
      throw new RangeError(`a pass has at most ${this.maxRows} rows, got ${rows}`);
    }
    stream.embed(w.hidden, this.#outer.embed, tokens, rows);
    stream.rmsNorm(this.#normed, w.hidden, tokenNorm, normEpsilon, rows);
    const normedStates = this.#normed.subarray(rows * hiddenSize);
    stream.rmsNorm(normedStates, states, stateNorm, normEpsilon, rows);
    const sources = Int32Array.from({ length: 2 * rows }, (_, i) => (i >> 1) + (i & 1) * rows);
    const [pairs, normed] = [this.#pairs, this.#normed].map((x) => storedOperand(x, hiddenSize));
    stream.gather(pairs, normed, sources, 2 * rows);
    w.project(stream, this.#pairs, rows, { out: w.hidden, weight: projection });
  }
}
