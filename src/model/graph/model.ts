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
  kvEntryBytes,
  storedDtype,
  type Checkpoint,
} from "../checkpoint/index.ts";
import type { ModelConfig } from "../checkpoint/index.ts";
import { openWeights } from "../packed/index.ts";
import { cutStep } from "./cut-step.ts";
import { MicroBatch, type Layer, type LayerContext } from "./micro-batch.ts";
import { LatentAttention } from "./mla.ts";
import { Mtp } from "./mtp.ts";
import { passLayers, type Order } from "./overlap.ts";
import { LocalExperts, type RoutedExperts } from "./routed-experts.ts";
import type { KvPool, StepBatch } from "./step.ts";
import { modelWeights, type ModelWeights } from "../checkpoint/index.ts";
import { streamTracer } from "./stream-tracer.ts";
import { Workspace } from "./workspace.ts";

export interface ModelOptions {
  readonly kernels: Kernels;
  readonly policy: Policy;
  /** The largest step, in rows. */
  readonly maxRows: number;
  /** A file of the checkpoint's linear weights in strips, which PackedFile has found sound. */
  readonly packed?: string | undefined;
  /** Where routed experts are computed; by default here. */
  readonly createExperts?: (stream: Stream, config: ModelConfig, tracer: Tracer) => RoutedExperts;
  /**
   * Spans tell when a stream that computes on its own did so; of others, the time of enqueueing, in
   * which the reference computes.
   */
  readonly tracer?: Tracer;
  /** Computes the checkpoint's MTP layer, if it has one; its KV is a plane more. */
  readonly mtp?: boolean;
}

/** How a step's tokens are chosen. */
export interface ChoiceOptions {
  /** One for each of the batch's logit rows; those that are still open are awaited while logits are computed. */
  readonly choices: readonly TokenChoice[] | (() => Promise<readonly TokenChoice[]>);
  /** Tokens from here on are never chosen. */
  readonly usableTokens: number;
  /** How micro-batches overlap; by default the step is one. */
  readonly order?: Order;
  /** Told when a layer's KV can be read. */
  readonly onLayer?: (layer: number) => void;
  /** Told when the logits are computed, if choices are still open. */
  readonly onLogits?: () => void;
}

/**
 * The token of a logit row, valid until the next step.
 * @throws RangeError when a logit is NaN or the largest is infinite
 */
export type ChosenTokens = (row: number) => ChosenToken;

/** Opens a checkpoint directory in Hugging Face's layout; weights are read now only to be resident. */
export async function loadModel(directory: string, options: ModelOptions): Promise<Model> {
  const { config, checkpoint, files } = await openWeights(directory, options.packed);
  refuseUnsupported(checkpoint, options);
  options.kernels.load(files);
  return new Model(config, modelWeights(checkpoint, config), options);
}

function refuseUnsupported(checkpoint: Checkpoint, { kernels, policy }: ModelOptions): void {
  const unsupported = kernels.unsupported(policy);
  for (const entry of checkpoint.tensors()) {
    const dtype = storedDtype(entry);
    if (dtype === undefined || !unsupported.includes(dtype)) continue;
    const problem = `is ${dtype}, which ${kernels.name} kernels do not multiply under ${policy}; DAYSIX_ISA=reference does, slowly`;
    throw new CheckpointError(entry.file, problem, entry.name);
  }
}

/** The DeepSeek-V3 graph (DeepSeek-V3 technical report, section 2) over one rank's stream. */
export class Model {
  readonly config: ModelConfig;
  readonly policy: Policy;
  readonly maxRows: number;
  readonly tracer: Tracer;
  /** The layer that drafts tokens, where it is asked for and the checkpoint has one. */
  readonly mtp: Mtp | undefined;
  readonly #weights: ModelWeights;
  readonly #stream: Stream;
  readonly #workspace: Workspace;
  readonly #layers: LayerContext;

  constructor(config: ModelConfig, weights: ModelWeights, options: ModelOptions) {
    this.config = config;
    this.policy = options.policy;
    this.maxRows = options.maxRows;
    this.#weights = weights;
    this.#stream = options.kernels.createStream(options.policy, config.quantization.scales);
    this.tracer = streamTracer(options.tracer ?? nullTracer, this.#stream);
    const attention = new LatentAttention(config);
    this.#workspace = new Workspace(config, attention.shape, options.maxRows);
    this.#layers = {
      config,
      attention,
      stream: this.#stream,
      tracer: this.tracer,
      experts:
        options.createExperts?.(this.#stream, config, this.tracer) ??
        new LocalExperts(this.#stream, config.gate, options.maxRows, this.tracer),
    };
    this.mtp =
      options.mtp && weights.mtp
        ? new Mtp(weights.mtp, weights, this.#layers, this.#workspace, options.maxRows)
        : undefined;
  }

  /** Bytes of KV cache one token takes in all planes. */
  get kvBytesPerToken(): number {
    return this.#planes * kvEntryBytes(this.config, this.policy);
  }

  /** Layers that keep KV. */
  get #planes(): number {
    return this.config.layers + (this.mtp ? 1 : 0);
  }

  createKvPool(pages: number): KvPool {
    const { latentRank, ropeWidth } = this.config;
    const width = latentRank + ropeWidth;
    const values = pages * PAGE_TOKENS * width;
    return {
      width,
      layers: Array.from({ length: this.#planes }, () => ({
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
    { choices: asked, usableTokens, onLogits, ...options }: ChoiceOptions,
  ): Promise<ChosenTokens> {
    return this.#step(async () => {
      const logits = await this.#enqueue(batch, pool, options);
      const choices = typeof asked === "function" ? await this.#settle(asked, onLogits) : asked;
      const sampling = new StepSampling(choices, usableTokens);
      const span = this.tracer.begin("SAMPLE", NO_LAYER, choices.length);
      sampling.enqueue(this.#stream, logits, this.config.vocabSize);
      this.tracer.end(span);
      await this.#stream.fence();
      return (row) => sampling.chosen(row);
    });
  }

  /** The stream computes meanwhile, and goes on with the choice of tokens where nobody asks when it is done. */
  async #settle(
    choices: () => Promise<readonly TokenChoice[]>,
    onLogits: (() => void) | undefined,
  ): Promise<readonly TokenChoice[]> {
    const [settled] = await Promise.all([
      choices(),
      onLogits && this.#stream.fence().then(onLogits),
    ]);
    return settled;
  }

  /** A step that fails leaves nothing on the stream, so that the next one can be computed. */
  async #step<Result>(compute: () => Promise<Result>): Promise<Result> {
    try {
      const result = await compute();
      this.#layers.experts.stepped?.();
      return result;
    } catch (error) {
      this.#stream.reset();
      throw error;
    }
  }

  /** Logits that can be read once the stream is done. */
  async #enqueue(
    batch: StepBatch,
    pool: KvPool,
    options: Pick<ChoiceOptions, "order" | "onLayer"> = {},
  ): Promise<Float32Array> {
    if (batch.rows > this.maxRows) {
      throw new RangeError(`a step has at most ${this.maxRows} rows, got ${batch.rows}`);
    }
    const w = this.#workspace;
    const embed = this.tracer.begin("EMBED", NO_LAYER, batch.rows);
    this.#stream.embed(w.hidden, this.#weights.embed, batch.tokens, batch.rows);
    this.tracer.end(embed);
    await this.#pass(batch, pool, options);
    const head = this.tracer.begin("HEAD", NO_LAYER, batch.logitRows.length);
    const logits = this.#head(batch);
    this.tracer.end(head);
    return logits;
  }

  async #pass(
    batch: StepBatch,
    { layers: caches }: KvPool,
    { order = "whole", onLayer }: Pick<ChoiceOptions, "order" | "onLayer">,
  ): Promise<void> {
    const layers = this.#weights.layers.map((weights, index): Layer => ({
      index,
      weights,
      cache: caches[index],
    }));
    const told: Promise<void>[] = [];
    const tell = ({ index }: Layer) => {
      const written = this.#stream.fence().then(() => onLayer?.(index));
      written.catch(() => undefined);
      told.push(written);
    };
    await passLayers(layers, this.#microBatches(batch, order), order, onLayer && tell);
    await Promise.all(told);
  }

  #microBatches(batch: StepBatch, order: Order): { b: MicroBatch; a?: MicroBatch } {
    const w = this.#workspace;
    if (order === "whole") return { b: new MicroBatch(this.#layers, w, batch) };
    const [earlier, later] = cutStep(batch);
    return {
      b: new MicroBatch(this.#layers, w, earlier, 0),
      a: new MicroBatch(this.#layers, w.from(earlier.rows), later, 1),
    };
  }

  #head(batch: StepBatch): Float32Array {
    const stream = this.#stream;
    const w = this.#workspace;
    const { hiddenSize: columns, normEpsilon } = this.config;
    const { finalNorm, head } = this.#weights;
    const count = batch.logitRows.length;
    const logits = w.logits(count);
    const hidden = storedOperand(w.hidden, columns);
    stream.gather(storedOperand(w.update, columns), hidden, batch.logitRows, count);
    stream.rmsNorm(w.normed, w.update, finalNorm, normEpsilon, count);
    w.project(stream, w.normed, count, { out: logits, weight: head });
    if (this.mtp) stream.rmsNorm(this.mtp.trunk, w.hidden, finalNorm, normEpsilon, batch.rows);
    return logits;
  }
}
