import {
  allocate,
  createOperand,
  operandRows,
  type MlaShape,
  type Operand,
  type Stream,
  type Weight,
} from "../../kernels/index.ts";
import type { ModelConfig } from "../checkpoint/index.ts";

/** A matmul that reads some rows: out = x · weightᵀ. */
export interface Projection {
  readonly out: Float32Array;
  readonly weight: Weight;
}

/** The rows of a workspace from one on. */
interface Window {
  readonly whole: Workspace;
  readonly firstRow: number;
}

/** A float32 buffer with a row for each of a step's. */
type RowBuffer = Exclude<
  keyof Workspace,
  "from" | "logits" | "operand" | "expertInput" | "project" | "expertIds"
>;

/**
 * The buffers one step writes through, allocated once for the largest step. Operations run in the
 * order they are enqueued, so a buffer is free again as soon as its last reader is enqueued.
 */
export class Workspace {
  readonly #config: ModelConfig;
  readonly #shape: MlaShape;
  readonly #maxRows: number;
  readonly #window: Window | undefined;
  readonly #operands = new Map<string, Operand>();
  #logits = new Float32Array(0);

  /** Residual stream. [rows, hidden] */
  readonly hidden: Float32Array;
  /** Normalised input of a block's half. [rows, hidden] */
  readonly normed: Float32Array;
  /** What a block's half adds to the residual. [rows, hidden] */
  readonly update: Float32Array;
  /** [rows, queryRank], raw and normalised */
  readonly queryLatent: Float32Array;
  readonly queryLatentNormed: Float32Array;
  /** [rows, heads, nope + rope] */
  readonly query: Float32Array;
  /** [rows, latent + rope] */
  readonly keyLatent: Float32Array;
  /** [rows, heads, latent]: the absorbed query, and the attention's latent sum */
  readonly absorbed: Float32Array;
  readonly latentSum: Float32Array;
  /** [rows, heads, value] */
  readonly attended: Float32Array;
  /** SwiGLU of the dense or shared expert: gate, up and their product. [rows, width] */
  readonly gate: Float32Array;
  readonly up: Float32Array;
  readonly product: Float32Array;
  /** [rows, experts] */
  readonly routerLogits: Float32Array;
  /** [rows, topK] */
  readonly expertIds: Int32Array;
  readonly expertWeights: Float32Array;
  /** [rows, hidden] */
  readonly sharedRows: Float32Array;

  constructor(config: ModelConfig, shape: MlaShape, maxRows: number, window?: Window) {
    const rows = (name: RowBuffer, width: number) =>
      window
        ? window.whole[name].subarray(window.firstRow * width)
        : allocate(Float32Array, maxRows * width);
    const { hiddenSize, heads, gate } = config;
    const wide = Math.max(config.denseWidth, config.sharedExperts * config.expertWidth);
    this.#config = config;
    this.#shape = shape;
    this.#maxRows = maxRows;
    this.#window = window;
    this.hidden = rows("hidden", hiddenSize);
    this.normed = rows("normed", hiddenSize);
    this.update = rows("update", hiddenSize);
    this.queryLatent = rows("queryLatent", config.queryRank ?? 0);
    this.queryLatentNormed = rows("queryLatentNormed", config.queryRank ?? 0);
    this.query = rows("query", heads * (shape.nope + shape.rope));
    this.keyLatent = rows("keyLatent", shape.latent + shape.rope);
    this.absorbed = rows("absorbed", heads * shape.latent);
    this.latentSum = rows("latentSum", heads * shape.latent);
    this.attended = rows("attended", heads * shape.value);
    this.gate = rows("gate", wide);
    this.up = rows("up", wide);
    this.product = rows("product", wide);
    this.routerLogits = rows("routerLogits", gate.experts);
    this.expertIds = window
      ? window.whole.expertIds.subarray(window.firstRow * gate.topK)
      : allocate(Int32Array, maxRows * gate.topK);
    this.expertWeights = rows("expertWeights", gate.topK);
    this.sharedRows = rows("sharedRows", hiddenSize);
  }

  /** The rows from one on, as a workspace of its own for another part of the same step. */
  from(firstRow: number): Workspace {
    const maxRows = this.#maxRows - firstRow;
    return new Workspace(this.#config, this.#shape, maxRows, { whole: this, firstRow });
  }

  /** [rows, vocabulary] for the rows whose logits are wanted; grows to the most ever asked for. */
  logits(rows: number): Float32Array {
    const count = rows * this.#config.vocabSize;
    if (this.#logits.length < count) this.#logits = allocate(Float32Array, count);
    return this.#logits.subarray(0, count);
  }

  /** The matmul input of a format and width. */
  operand(format: Operand["format"], columns: number): Operand {
    return this.#operand(`${format} ${columns}`, format, columns);
  }

  /** The routed experts' input: the shared expert must not write over it. [rows, hidden] */
  expertInput(format: Operand["format"]): Operand {
    return this.#operand(`experts ${format}`, format, this.#config.hiddenSize);
  }

  /** Matmuls of the same rows: x is rounded once for each operand format its weights take. */
  project(stream: Stream, x: Float32Array, rows: number, ...projections: Projection[]): void {
    const inputs = new Map<Operand["format"], Operand>();
    for (const { out, weight } of projections) {
      const format = stream.operandFormat(weight);
      let input = inputs.get(format);
      if (!input) {
        input = this.operand(format, weight.shape[1]);
        stream.quantize(input, x, rows);
        inputs.set(format, input);
      }
      stream.gemm(out, input, weight, rows);
    }
  }

  #operand(key: string, format: Operand["format"], columns: number): Operand {
    let operand = this.#operands.get(key);
    if (!operand) {
      operand = this.#window
        ? operandRows(this.#window.whole.#operand(key, format, columns), this.#window.firstRow)
        : createOperand(format, this.#maxRows, columns);
      this.#operands.set(key, operand);
    }
    return operand;
  }
}
