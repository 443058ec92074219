import { absorbQuery } from "./absorb.ts";
import { attention } from "./attention.ts";
import { sampleRows } from "../sampling/index.ts";
import { refuseOutside, refuseStrayLayout, refuseUnordered } from "./indices.ts";
import { float32, roundBf16 } from "../float-formats.ts";
import { rowScales, type Operand, type RowFormat, type StoredRows } from "../operand-format.ts";
import { multiply, multiplyGroups } from "./gemm.ts";
import { writeKv } from "./kv.ts";
import { rmsNormRow, siluMultiply } from "./norm.ts";
import type { DecodedRows, Round } from "./product.ts";
import { operandFormat, precisions, type Policy, type ScaleFormat } from "../policy.ts";
import { decodeOperand, loadRows, quantize, rowsOf } from "../quantize.ts";
import { quantizeWeight } from "../quantize-weight.ts";
import { rotate } from "./rope.ts";
import { groupRows, route } from "./route.ts";
import {
  COMMON_BITS,
  pagesOf,
  type ExpertWeights,
  type GateRule,
  type Kernels,
  type KvLayer,
  type MlaShape,
  type MlpBuffers,
  type QuantizedWeight,
  type Rope,
  type RowGroups,
  type SortedRows,
  type SampledRows,
  type SamplingRows,
  type StepLayout,
  type Stream,
} from "../stream.ts";
import type { Weight } from "../weight.ts";
import { WeightReader } from "../weight-reader.ts";

/** The backend that defines the numbers: plain TypeScript, computed when enqueued. */
export function createReferenceKernels(): Kernels {
  const weights = new WeightReader();
  return {
    name: "reference",
    instructionSet: process.arch,
    modes: [],
    bitsOf: () => COMMON_BITS,
    threads: 1,
    unsupported: () => [],
    stripDtypes: () => [],
    // Each weight is read where it is first used.
    load: () => undefined,
    createStream: (policy, scales = "f32") => new ReferenceStream(policy, scales, weights),
  };
}

/** How a value is rounded to a format without scales. */
const roundings: Readonly<Record<RowFormat, Round>> = { f32: Math.fround, bf16: roundBf16 };

class ReferenceStream implements Stream {
  readonly policy: Policy;
  readonly #scales: ScaleFormat;
  readonly #weights: WeightReader;
  readonly #round: Round;

  constructor(policy: Policy, scales: ScaleFormat, weights: WeightReader) {
    this.policy = policy;
    this.#scales = scales;
    this.#weights = weights;
    this.#round = roundings[precisions[policy].activation];
  }

  operandFormat(weight: Weight): Operand["format"] {
    return operandFormat(this.policy, weight.dtype);
  }

  embed(out: Float32Array, table: Weight, tokens: Int32Array, rows: number): void {
    const loaded = this.#weights.load(table);
    refuseOutside("embed: tokens", tokens, { count: rows, limit: loaded.rows });
    for (let i = 0; i < rows; i++) out.set(loaded.row(tokens[i]), i * loaded.columns);
  }

  rmsNorm(out: Float32Array, x: Float32Array, gain: Weight, epsilon: number, rows: number): void {
    const values = this.#weights.vector(gain);
    for (let row = 0; row < rows; row++) {
      rmsNormRow(out, row * values.length, x, row * values.length, values, epsilon);
    }
  }

  add(x: Float32Array, y: Float32Array, count: number): void {
    for (let i = 0; i < count; i++) x[i] = float32(float32(x[i]) + float32(y[i]));
  }

  quantize(out: Operand, x: Float32Array, rows: number): void {
    quantize(out, x, rows, this.#scales);
  }

  quantizeWeight(out: QuantizedWeight, x: Operand, rows: number): void {
    quantizeWeight(out, x, rows, this.#scales);
  }

  gemm(out: Float32Array, x: Operand, weight: Weight, rows: number): void {
    const loaded = this.#weights.load(weight);
    multiply({ values: out, from: 0, stride: loaded.rows }, decoded(x, rows), rows, loaded);
  }

  groupedGemm(
    out: StoredRows,
    x: Operand,
    weights: readonly Weight[],
    groups: SortedRows,
    rows: number,
  ): void {
    const count = Math.min(weights.length, groups.starts.length - 1);
    refuseUnordered("groupedGemm: starts", groups.starts, count, rows);
    const load = (group: number) => this.#weights.load(weights[group]);
    multiplyGroups(out, decoded(x, rows), load, groups.starts, weights[0].shape[0]);
  }

  groupedMlp(
    out: StoredRows,
    x: Operand,
    weights: ExpertWeights,
    groups: SortedRows,
    { pairs: most, sorted, gate, up, product }: MlpBuffers,
  ): void {
    const experts = Math.min(weights.gate.length, groups.starts.length - 1);
    refuseUnordered("groupedMlp: starts", groups.starts, experts, most);
    const pairs = groups.starts[experts];
    refuseOutside("groupedMlp: sources", groups.sources, { count: pairs, limit: rowsOf(x) });
    this.gather(sorted, x, groups.sources, pairs);
    this.groupedGemm(gate, sorted, weights.gate, groups, pairs);
    this.groupedGemm(up, sorted, weights.up, groups, pairs);
    this.siluMultiply(gate, gate, up, pairs * product.columns);
    this.quantize(product, gate, pairs);
    this.groupedGemm(out, product, weights.down, groups, pairs);
  }

  siluMultiply(out: Float32Array, gate: Float32Array, up: Float32Array, count: number): void {
    siluMultiply(out, gate, up, count);
  }

  ropeQuery(q: Float32Array, shape: MlaShape, rope: Rope, layout: StepLayout): void {
    const width = shape.nope + shape.rope;
    for (let row = 0; row < layout.rows; row++) {
      for (let head = 0; head < shape.heads; head++) {
        const at = (row * shape.heads + head) * width + shape.nope;
        rotate(q, at, layout.positions[row], rope);
      }
    }
  }

  writeKv(
    cache: KvLayer,
    x: Float32Array,
    gain: Weight,
    epsilon: number,
    shape: MlaShape,
    rope: Rope,
    layout: StepLayout,
  ): void {
    refuseStrayLayout("writeKv", layout, pagesOf(cache, shape));
    writeKv(cache, x, this.#weights.vector(gain), epsilon, shape, rope, layout);
  }

  absorbQuery(
    out: Float32Array,
    q: Float32Array,
    kvB: Weight,
    shape: MlaShape,
    rows: number,
  ): void {
    const { activation } = precisions[this.policy];
    absorbQuery(out, q, this.#weights.load(kvB), shape, rows, activation, this.#round);
  }

  attention(
    out: Float32Array,
    absorbed: Float32Array,
    q: Float32Array,
    cache: KvLayer,
    shape: MlaShape,
    layout: StepLayout,
  ): void {
    refuseStrayLayout("attention", layout, pagesOf(cache, shape));
    attention(out, absorbed, q, cache, shape, layout, this.#round);
  }

  projectValue(
    out: Float32Array,
    latentSum: Float32Array,
    kvB: Weight,
    shape: MlaShape,
    rows: number,
  ): void {
    const { heads, nope, value, latent } = shape;
    const weight = this.#weights.load(kvB);
    const format = precisions[this.policy].activation;
    const values = Float64Array.from(latentSum.subarray(0, rows * heads * latent), this.#round);
    for (let head = 0; head < heads; head++) {
      multiply(
        { values: out, from: head * value, stride: heads * value },
        { format, values, from: head * latent, stride: heads * latent },
        rows,
        weight,
        head * (nope + value) + nope,
        value,
      );
    }
  }

  route(
    ids: Int32Array,
    weights: Float32Array,
    logits: Float32Array,
    bias: Weight | undefined,
    rule: GateRule,
    rows: number,
  ): void {
    route(ids, weights, logits, bias && this.#weights.vector(bias), rule, rows);
  }

  groupRows(out: RowGroups, ids: Int32Array, rule: GateRule, rows: number): void {
    refuseOutside("groupRows: ids", ids, { count: rows * rule.topK, limit: rule.experts });
    groupRows(out, ids, rule, rows);
  }

  gather(out: Operand, x: Operand, sources: Int32Array, rows: number): void {
    refuseOutside("gather: sources", sources, { count: rows, limit: rowsOf(x) });
    copyRows(out.values, x.values, x.columns, sources, rows);
    copyRows(out.scales, x.scales, rowScales(x.format, x.columns), sources, rows);
  }

  combine(
    out: Float32Array,
    expertRows: StoredRows,
    weights: Float32Array,
    places: Int32Array,
    topK: number,
    hidden: number,
    rows: number,
  ): void {
    const limit = Math.floor(expertRows.length / hidden);
    refuseOutside("combine: places", places, { count: rows * topK, limit });
    const expertRow = new Float64Array(hidden);
    out.fill(0, 0, rows * hidden);
    for (let pair = 0; pair < rows * topK; pair++) {
      loadRows(expertRow, 0, expertRows, places[pair] * hidden, hidden);
      const at = Math.floor(pair / topK) * hidden;
      const weight = float32(weights[pair]);
      for (let i = 0; i < hidden; i++) {
        out[at + i] = float32(out[at + i] + float32(weight * float32(expertRow[i])));
      }
    }
  }

  sample(
    out: SampledRows,
    logits: Float32Array,
    vocabSize: number,
    sampling: SamplingRows,
    rows: number,
  ): void {
    sampleRows(out, logits, vocabSize, sampling, rows);
  }

  async fence(): Promise<void> {}

  /** An operation that fails throws where it is enqueued, and leaves nothing behind. */
  reset(): void {}

  close(): void {}
}

/** An operand's rows as the gemm reads them. */
function decoded(x: Operand, rows: number): DecodedRows {
  const values = new Float64Array(rows * x.columns);
  decodeOperand(values, x, rows);
  const rowBlocks = rowScales(x.format, x.columns);
  const scales = rowBlocks > 0 ? x.scales : undefined;
  return { format: x.format, values, from: 0, stride: x.columns, scales, scalesFrom: 0, rowBlocks };
}

function copyRows(
  out: Operand["values"],
  x: Operand["values"],
  columns: number,
  sources: Int32Array,
  rows: number,
): void {
  for (let row = 0; row < rows; row++) {
    const from = sources[row] * columns;
    out.set(x.subarray(from, from + columns), row * columns);
  }
}
