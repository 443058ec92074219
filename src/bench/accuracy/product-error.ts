import { writeFileSync } from "node:fs";
import { join } from "node:path";
import {
  createOperand,
  createQuantizedWeight,
  gaussian,
  randomSource,
  rowBytes,
  storedOperand,
  toBf16,
  type Kernels,
  type Policy,
  type QuantizedDtype,
  type ScaleBlock,
  type Weight,
} from "../../kernels/index.ts";

const OUTPUTS = 512;
const INPUTS = 2048;
const ROWS = 32;

/** How weights and rows are drawn: the shapes of trained ones, made worse. */
export const weightKinds = ["gauss", "t5", "t3", "outliers"] as const;
export const rowKinds = ["gauss", "hot", "silu"] as const;

export interface Product {
  /** Values that BF16 holds, [OUTPUTS, INPUTS]. */
  readonly weights: Float32Array;
  /** [ROWS, INPUTS] */
  readonly rows: Float32Array;
  /** [ROWS, OUTPUTS] of weights and rows as drawn, in float64. */
  readonly exact: Float64Array;
}

export function drawProduct(
  weightKind: (typeof weightKinds)[number],
  rowKind: (typeof rowKinds)[number],
): Product {
  const random = randomSource(1);
  const weights = drawWeights(random, weightKind).map((x) => fromHalf(toBf16(x)));
  const rows = drawRows(random, rowKind);
  const exact = new Float64Array(ROWS * OUTPUTS);
  for (let m = 0; m < ROWS; m++) {
    for (let n = 0; n < OUTPUTS; n++) {
      let sum = 0;
      for (let k = 0; k < INPUTS; k++) sum += rows[m * INPUTS + k] * weights[n * INPUTS + k];
      exact[m * OUTPUTS + n] = sum;
    }
  }
  return { weights, rows, exact };
}

const fromHalf = (code: number) => new Float32Array(Uint32Array.of(code << 16).buffer)[0];

function drawWeights(random: () => number, kind: (typeof weightKinds)[number]): Float32Array {
  const normal = gaussian(random, OUTPUTS * INPUTS, 0.02);
  if (kind === "gauss") return normal;
  if (kind === "outliers") {
    // One input in a hundred has weights six times as large, one output in fifty four times.
    return normal.map((x, i) => {
      const [row, column] = [Math.floor(i / INPUTS), i % INPUTS];
      return x * (column % 100 === 7 ? 6 : 1) * (row % 50 === 3 ? 4 : 1);
    });
  }
  // Student's t: a normal value over the root of a mean of `freedom` squares.
  const freedom = kind === "t5" ? 5 : 3;
  const squares = gaussian(random, OUTPUTS * INPUTS * freedom).map((x) => x * x);
  return normal.map((x, i) => {
    let sum = 0;
    for (let j = 0; j < freedom; j++) sum += squares[i * freedom + j];
    return x / Math.sqrt(sum / freedom);
  });
}

function drawRows(random: () => number, kind: (typeof rowKinds)[number]): Float32Array {
  const normal = gaussian(random, ROWS * INPUTS);
  if (kind === "gauss") return normal;
  if (kind === "hot") {
    // Channels of unequal spread, one in four hundred thirty times as large.
    const spreads = gaussian(random, INPUTS, 0.5).map(
      (x, i) => Math.exp(x) * (i % 400 === 9 ? 30 : 1),
    );
    return normal.map((x, i) => x * spreads[i % INPUTS]);
  }
  const up = gaussian(random, ROWS * INPUTS, 1.5);
  return normal.map((x, i) => ((1.5 * x) / (1 + Math.exp(-1.5 * x))) * up[i]);
}

/** The root of the squared error of a format's product under a policy, as a share of the outputs'. */
export async function productError(
  { weights, rows, exact }: Product,
  format: { readonly dtype: QuantizedDtype; readonly block?: ScaleBlock },
  { kernels, policy, folder }: { kernels: Kernels; policy: Policy; folder: string },
): Promise<number> {
  const stream = kernels.createStream(policy);
  try {
    const quantized = createQuantizedWeight(format.dtype, OUTPUTS, INPUTS, format.block);
    stream.quantizeWeight(quantized, storedOperand(weights, INPUTS), OUTPUTS);
    await stream.fence();
    const { dtype, values, scales, block } = quantized;
    const weight = storeWeight(folder, dtype, values, scales, Math.ceil(OUTPUTS / block[0]));
    const x = createOperand(stream.operandFormat(weight), ROWS, INPUTS);
    const out = new Float32Array(ROWS * OUTPUTS);
    stream.quantize(x, rows, ROWS);
    stream.gemm(out, x, weight, ROWS);
    await stream.fence();
    const l2 = (all: Float64Array) => Math.sqrt(all.reduce((sum, value) => sum + value * value, 0));
    return l2(exact.map((value, i) => out[i] - value)) / l2(exact);
  } finally {
    stream.close();
  }
}

let stored = 0;

function storeWeight(
  folder: string,
  dtype: QuantizedDtype,
  values: Uint8Array,
  scales: Float32Array,
  scaleRows: number,
): Weight {
  const file = join(folder, `weight-${stored++}`);
  writeFileSync(file, values);
  writeFileSync(`${file}-scales`, new Uint8Array(scales.buffer));
  const shape = [values.length / rowBytes(dtype, INPUTS), INPUTS];
  const scale: Weight = {
    ...{ name: "scales", dtype: "F32", file: `${file}-scales`, offset: 0 },
    shape: [scaleRows, scales.length / scaleRows],
  };
  return { name: file, dtype, shape, file, offset: 0, scale };
}
