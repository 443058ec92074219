import { exponential } from "../kernels/index.ts";

/** A matrix, or one turned round: where its elements lie. */
interface Matrix {
  readonly values: Float32Array;
  readonly rows: number;
  readonly columns: number;
  readonly rowStride: number;
  readonly columnStride: number;
}

function matrix(values: Float32Array, columns: number): Matrix {
  const rows = values.length / columns;
  return { values, rows, columns, rowStride: columns, columnStride: 1 };
}

function turned({ values, rows, columns, rowStride, columnStride }: Matrix): Matrix {
  return { values, rows: columns, columns: rows, rowStride: columnStride, columnStride: rowStride };
}

/** a · b: each output is one chain over k, every product and sum rounded to float32. */
function multiply(a: Matrix, b: Matrix): Float32Array {
  const { values, rowStride, columnStride, columns } = b;
  const product = new Float32Array(a.rows * columns);
  for (let row = 0; row < a.rows; row++) {
    const outputs = product.subarray(row * columns, (row + 1) * columns);
    for (let k = 0; k < a.columns; k++) {
      const left = a.values[row * a.rowStride + k * a.columnStride];
      for (let column = 0, at = k * rowStride; column < columns; column++, at += columnStride) {
        outputs[column] += Math.fround(left * values[at]);
      }
    }
  }
  return product;
}

/** target + values, in place. */
export function addTo(target: Float32Array, values: Float32Array): void {
  for (let i = 0; i < target.length; i++) target[i] += values[i];
}

const SLOPE = Math.sqrt(2 / Math.PI);
const CUBE = 0.044715;

/** tanh(√(2/π) (x + 0.044715 x³)) */
function geluTanh(x: number): number {
  return 1 - 2 / (exponential(2 * SLOPE * (x + CUBE * x ** 3)) + 1);
}

/** GELU in its form with a hyperbolic tangent. */
const gelu = (x: number) => 0.5 * x * (1 + geluTanh(x));

function geluDerivative(x: number): number {
  const tanh = geluTanh(x);
  return 0.5 * (1 + tanh) + 0.5 * x * (1 - tanh * tanh) * SLOPE * (1 + 3 * CUBE * x * x);
}

/** Of a stage, or their gradients. */
export interface MlpWeights {
  /** [4 · hidden, hidden] */
  readonly up: Float32Array;
  /** [hidden, 4 · hidden] */
  readonly down: Float32Array;
}

/** What a micro-batch's forward leaves for its backward: rows of input, of up's output and of GELU's. */
export interface Kept {
  readonly input: Float32Array;
  readonly raised: Float32Array;
  readonly activated: Float32Array;
}

/** What the backward for inputs leaves for that for weights: gradients of both products. */
export interface OutputGradients {
  readonly raised: Float32Array;
  readonly output: Float32Array;
}

/** down · gelu(up · x), as DualPipe's example has it, with the backward in two halves. */
export class MlpStage {
  readonly gradients: MlpWeights;
  readonly #hidden: number;
  readonly #up: Matrix;
  readonly #down: Matrix;

  constructor({ up, down }: MlpWeights, hidden: number) {
    this.#hidden = hidden;
    this.#up = matrix(up, hidden);
    this.#down = matrix(down, 4 * hidden);
    this.gradients = { up: new Float32Array(up.length), down: new Float32Array(down.length) };
  }

  forward(input: Float32Array): { readonly output: Float32Array; readonly kept: Kept } {
    const raised = multiply(matrix(input, this.#hidden), turned(this.#up));
    const activated = raised.map(gelu);
    const output = multiply(matrix(activated, 4 * this.#hidden), turned(this.#down));
    return { output, kept: { input, raised, activated } };
  }

  backwardInputs(
    kept: Kept,
    output: Float32Array,
  ): { readonly inputGradient: Float32Array; readonly gradients: OutputGradients } {
    const raised = multiply(matrix(output, this.#hidden), this.#down);
    for (const [i, x] of kept.raised.entries()) raised[i] *= geluDerivative(x);
    const inputGradient = multiply(matrix(raised, 4 * this.#hidden), this.#up);
    return { inputGradient, gradients: { raised, output } };
  }

  /** Adds a micro-batch to the gradients of the weights. */
  backwardWeights(kept: Kept, { raised, output }: OutputGradients): void {
    const [hidden, wide] = [this.#hidden, 4 * this.#hidden];
    const up = multiply(turned(matrix(raised, wide)), matrix(kept.input, hidden));
    const down = multiply(turned(matrix(output, hidden)), matrix(kept.activated, wide));
    addTo(this.gradients.up, up);
    addTo(this.gradients.down, down);
  }
}

/** The mean square of output − label, and its gradient. */
export function meanSquare(output: Float32Array, label: Float32Array) {
  const gradient = output.map((value, i) => (2 * (value - label[i])) / output.length);
  const sum = output.reduce((total, value, i) => total + (value - label[i]) ** 2, 0);
  return { loss: sum / output.length, gradient };
}
