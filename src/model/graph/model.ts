import {
  createStoredRows,
  PAGE_TOKENS,
  precisions,
  storedOperand,
  StepSampling,
  type ChosenToken,
  type Kernels,
  type Policy,
  type Stream,
  type TokenChoice,
} from "../../kernels/index.ts";
import { NO_LAYER, nullTracer, type Tracer } from "../../trace/index.ts";
import {
  CheckpointError,
  kvBytesPerToken,
  openCheckpoint,
  storedDtype,
  type Checkpoint,
} from "../checkpoint/index.ts";
import { readConfig, type ModelConfig } from "../checkpoint/index.ts";
import { forwardMlp, forwardMoe } from "./feed-forward.ts";
import { LatentAttention } from "./mla.ts";
import { LocalExperts, type RoutedExperts } from "./routed-experts.ts";
import type { KvPool, StepBatch } from "./step.ts";
import { modelWeights, type LayerWeights, type ModelWeights } from "../checkpoint/index.ts";
import { streamTracer } from "./stream-tracer.ts";
import { Workspace } from "./workspace.ts";

export interface ModelOptions {
  readonly kernels: Kernels;
  readonly policy: Policy;
  /** The largest step, in rows. */
  readonly maxRows: number;
  /** Where routed experts are computed; by default here. */
  readonly createExperts?: (stream: Stream, config: ModelConfig, tracer: Tracer) => RoutedExperts;
  /**
   * Spans tell when a stream that computes on its own did so; of others, the time of enqueueing, in
   * which the reference computes.
   */
  readonly tracer?: Tracer;
}

/** How a step's tokens are chosen. */
export interface ChoiceOptions {
  /** One for each of the batch's logit rows. */
  readonly choices: readonly TokenChoice[];
  /** Tokens from here on are never chosen. */
  readonly usableTokens: number;
  /** Told when a layer's KV can be read. */
  readonly onLayer?: (layer: number) => void;
}

/**
 * The token of a logit row, valid until the next step.
 * @throws RangeError when a logit is NaN or the largest is infinite
 */
export type ChosenTokens = (row: number) => ChosenToken;

/** Opens a checkpoint directory in Hugging Face's layout; weights are read now only to be resident. */
export async function loadModel(directory: string, options: ModelOptions): Promise<Model> {
  const config = await readConfig(directory);
  const checkpoint = await openCheckpoint(directory, config.quantization);
  refuseUnsupported(checkpoint, options.kernels);
  options.kernels.load(checkpoint.files);
  return new Model(config, modelWeights(checkpoint, config), options);
}

function refuseUnsupported(checkpoint: Checkpoint, { name, unsupported }: Kernels): void {
  for (const entry of checkpoint.tensors()) {
    const dtype = storedDtype(entry);
    if (dtype === undefined || !unsupported.includes(dtype)) continue;
    const problem = `is ${dtype}, which ${name} kernels do not multiply yet; DAYSIX_ISA=reference does, slowly`;
    throw new CheckpointError(entry.file, problem, entry.name);
  }
}

/** The DeepSeek-V3 graph (DeepSeek-V3 technical report, section 2) over one rank's stream. */
export class Model {
  readonly config: ModelConfig;
  readonly policy: Policy;
  readonly maxRows: number;
  readonly tracer: Tracer;
  readonly #weights: ModelWeights;
  readonly #stream: Stream;
  readonly #attention: LatentAttention;
  readonly #experts: RoutedExperts;
  readonly #workspace: Workspace;

  constructor(config: ModelConfig, weights: ModelWeights, options: ModelOptions) {
    this.config = config;
    this.policy = options.policy;
    this.maxRows = options.maxRows;
    this.#weights = weights;
    this.#stream = options.kernels.createStream(options.policy, config.quantization.scales);
    this.tracer = streamTracer(options.tracer ?? nullTracer, this.#stream);
    this.#attention = new LatentAttention(config);
    this.#experts =
      options.createExperts?.(this.#stream, config, this.tracer) ??
      new LocalExperts(this.#stream, config.gate, options.maxRows, this.tracer);
    this.#workspace = new Workspace(config, this.#attention.shape, options.maxRows);
  }

  /** Bytes of KV cache one token takes in all layers. */
  get kvBytesPerToken(): number {
    return kvBytesPerToken(this.config, this.policy);
  }

  createKvPool(pages: number): KvPool {
    const { layers, latentRank, ropeWidth } = this.config;
    const width = latentRank + ropeWidth;
    const values = pages * PAGE_TOKENS * width;
    return {
      width,
      layers: Array.from({ length: layers }, () => ({
        entries: createStoredRows(precisions[this.policy].kv, values),
      })),
    };
  }

  /**
   * Computes a step: writes the rows' KV and returns logits [batch.logitRows, vocabulary], valid
   * until the next step.
   */
  async forward(batch: StepBatch, pool: KvPool): Promise<Float32Array> {
    return this.#step(async () => {
      const logits = await this.#enqueue(batch, pool);
      await this.#stream.fence();
      return logits;
    });
  }

  /** Computes a step and chooses the next token of each of its logit rows. */
  async choose(
    batch: StepBatch,
    pool: KvPool,
    { choices, usableTokens, onLayer }: ChoiceOptions,
  ): Promise<ChosenTokens> {
    const sampling = new StepSampling(choices, usableTokens);
    return this.#step(async () => {
      const logits = await this.#enqueue(batch, pool, onLayer);
      const span = this.tracer.begin("SAMPLE", NO_LAYER, choices.length);
      sampling.enqueue(this.#stream, logits, this.config.vocabSize);
      this.tracer.end(span);
      await this.#stream.fence();
      return (row) => sampling.chosen(row);
    });
  }

  /** A step that fails leaves nothing on the stream, so that the next one can be computed. */
  async #step<Result>(compute: () => Promise<Result>): Promise<Result> {
    try {
      return await compute();
    } catch (error) {
      this.#stream.reset();
      throw error;
    }
  }

  /** Logits that can be read once the stream is done. */
  async #enqueue(
    batch: StepBatch,
    pool: KvPool,
    onLayer?: (layer: number) => void,
  ): Promise<Float32Array> {
    if (batch.rows > this.maxRows) {
      throw new RangeError(`a step has at most ${this.maxRows} rows, got ${batch.rows}`);
    }
    const w = this.#workspace;
    const embed = this.tracer.begin("EMBED", NO_LAYER, batch.rows);
    this.#stream.embed(w.hidden, this.#weights.embed, batch.tokens, batch.rows);
    this.tracer.end(embed);
    for (const [index, layer] of this.#weights.layers.entries()) {
      await this.#block(layer, index, batch, pool);
      if (onLayer) {
        await this.#stream.fence();
        onLayer(index);
      }
    }
    const head = this.tracer.begin("HEAD", NO_LAYER, batch.logitRows.length);
    const logits = this.#head(batch);
    this.tracer.end(head);
    return logits;
  }

  /** h += attention(norm(h)); h += feed-forward(norm(h)) */
  async #block(layer: LayerWeights, index: number, batch: StepBatch, pool: KvPool): Promise<void> {
    const stream = this.#stream;
    const w = this.#workspace;
    const { hiddenSize, normEpsilon, gate } = this.config;
    const { rows } = batch;

    const attention = this.tracer.begin("ATTN", index, rows);
    stream.rmsNorm(w.normed, w.hidden, layer.inputNorm, normEpsilon, rows);
    this.#attention.forward(stream, w, layer.attention, pool.layers[index], batch);
    stream.add(w.hidden, w.update, rows * hiddenSize);
    stream.rmsNorm(w.normed, w.hidden, layer.postNorm, normEpsilon, rows);
    this.tracer.end(attention);

    const { ffn } = layer;
    if (ffn.kind === "dense") {
      const mlp = this.tracer.begin("MLP", index, rows);
      forwardMlp(stream, w, ffn, w.update, rows);
      this.tracer.end(mlp);
    } else {
      await forwardMoe(stream, w, ffn, {
        microBatch: 0,
        layer: index,
        rows,
        rule: gate,
        experts: this.#experts,
        tracer: this.tracer,
      });
    }
    stream.add(w.hidden, w.update, rows * hiddenSize);
  }

  #head(batch: StepBatch): Float32Array {
    const stream = this.#stream;
    const w = this.#workspace;
    const columns = this.config.hiddenSize;
    const count = batch.logitRows.length;
    const logits = w.logits(count);
    const hidden = storedOperand(w.hidden, columns);
    stream.gather(storedOperand(w.update, columns), hidden, batch.logitRows, count);
    stream.rmsNorm(w.normed, w.update, this.#weights.finalNorm, this.config.normEpsilon, count);
    w.project(stream, w.normed, count, { out: logits, weight: this.#weights.head });
    return logits;
  }
}
