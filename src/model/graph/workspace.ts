import {
  allocate,
  createOperand,
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

/**
 * The buffers one step writes through, allocated once for the largest step. Operations run in the
 * order they are enqueued, so a buffer is free again as soon as its last reader is enqueued.
 */
export class Workspace {
  readonly #maxRows: number;
  readonly #hiddenSize: number;
  readonly #operands = new Map<string, Operand>();
  #logits = new Float32Array(0);
  readonly #vocabSize: number;

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

  constructor(config: ModelConfig, shape: MlaShape, maxRows: number) {
    const rows = (width: number) => allocate(Float32Array, maxRows * width);
    const { hiddenSize, heads, gate } = config;
    const pairs = maxRows * gate.topK;
    const wide = Math.max(config.denseWidth, config.sharedExperts * config.expertWidth);
    this.#maxRows = maxRows;
    this.#vocabSize = config.vocabSize;
    this.#hiddenSize = hiddenSize;
    this.hidden = rows(hiddenSize);
    this.normed = rows(hiddenSize);
    this.update = rows(hiddenSize);
    this.queryLatent = rows(config.queryRank ?? 0);
    this.queryLatentNormed = rows(config.queryRank ?? 0);
    this.query = rows(heads * (shape.nope + shape.rope));
    this.keyLatent = rows(shape.latent + shape.rope);
    this.absorbed = rows(heads * shape.latent);
    this.latentSum = rows(heads * shape.latent);
    this.attended = rows(heads * shape.value);
    this.gate = rows(wide);
    this.up = rows(wide);
    this.product = rows(wide);
    this.routerLogits = rows(gate.experts);
    this.expertIds = allocate(Int32Array, pairs);
    this.expertWeights = allocate(Float32Array, pairs);
    this.sharedRows = rows(hiddenSize);
  }

  /** [rows, vocabulary] for the rows whose logits are wanted; grows to the most ever asked for. */
  logits(rows: number): Float32Array {
    const count = rows * this.#vocabSize;
    if (this.#logits.length < count) this.#logits = allocate(Float32Array, count);
    return this.#logits.subarray(0, count);
  }

  /** The matmul input of a format and width. */
  operand(format: Operand["format"], columns: number): Operand {
    return this.#operand(`${format} ${columns}`, format, columns);
  }

  /** The routed experts' input: the shared expert must not write over it. [rows, hidden] */
  expertInput(format: Operand["format"]): Operand {
    return this.#operand(`experts ${format}`, format, this.#hiddenSize);
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
      operand = createOperand(format, this.#maxRows, columns);
      this.#operands.set(key, operand);
    }
    return operand;
  }
}
