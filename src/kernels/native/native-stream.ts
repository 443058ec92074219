import {
  writeAdjustments,
  writeGateRule,
  refuseOtherBlock,
  refuseUnlike,
  writeGroupedMlp,
  writeKvB,
  writeLayout,
  writeMlaShape,
  writeNoWeight,
  writeOperand,
  writeRope,
  writeStoredRows,
  writeWeight,
  writeWeights,
} from "./arguments.ts";
import {
  exchangeActs,
  writeArrived,
  writeDispatched,
  writeReturned,
  writeSharedRows,
} from "./exchange-arguments.ts";
import type { DispatchedChoices, ExchangeStream, SharedRows } from "../shared-rows.ts";
import { CommandStream, type CommandStreamOptions } from "./command-stream.ts";
import { dtypeNumbers, type MappedWeights } from "./mapped-weights.ts";
import type { Operand, StoredRows } from "../operand-format.ts";
import { operandFormat, precisions, type Policy, type ScaleFormat } from "../policy.ts";
import { rowsOf } from "../quantize.ts";
import {
  pagesOf,
  RULE_WIDTH,
  type ExpertWeights,
  type GateRule,
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
} from "../stream.ts";
import { rowBytes, scaleShape } from "../weight-format.ts";
import type { Weight } from "../weight.ts";

export interface NativeStreamOptions extends CommandStreamOptions {
  readonly policy: Policy;
  readonly scales: ScaleFormat;
}

/**
 * A stream computed by threads of the addon. An operation is written to the ring argument by argument,
 * as native/host/operations.h names them; sizes are checked here, where an error can be thrown, and
 * indices before the operation runs.
 */
export class NativeStream extends CommandStream implements ExchangeStream {
  readonly policy: Policy;
  readonly #weights: MappedWeights;
  readonly #roundInputs: number;
  readonly #powerOfTwoScales: number;
  readonly computesAtFence: boolean;

  constructor({ policy, scales, ...options }: NativeStreamOptions) {
    super(options);
    this.policy = policy;
    this.#weights = options.weights;
    this.#roundInputs = precisions[policy].activation === "f32" ? 0 : 1;
    this.#powerOfTwoScales = scales === "ue8m0" ? 1 : 0;
    this.computesAtFence = options.atFence;
  }

  operandFormat(weight: Weight): Operand["format"] {
    return operandFormat(this.policy, weight.dtype);
  }

  embed(out: Float32Array, table: Weight, tokens: Int32Array, rows: number): void {
    const { columns } = this.#weights.map(table);
    const ring = this.begin("embed");
    ring.array("out", out, rows * columns);
    writeWeight(ring, "table", table, this.#weights.map(table));
    ring.array("tokens", tokens, rows);
    ring.number("rows", rows);
    this.end();
  }

  rmsNorm(out: Float32Array, x: Float32Array, gain: Weight, epsilon: number, rows: number): void {
    const { columns } = this.#weights.map(gain);
    const ring = this.begin("rmsNorm");
    ring.array("out", out, rows * columns);
    ring.array("x", x, rows * columns);
    writeWeight(ring, "gain", gain, this.#weights.map(gain));
    ring.number("epsilon", epsilon);
    ring.number("rows", rows);
    this.end();
  }

  add(x: Float32Array, y: Float32Array, count: number): void {
    const ring = this.begin("add");
    ring.array("x", x, count);
    ring.array("y", y, count);
    ring.number("count", count);
    this.end();
  }

  quantize(out: Operand, x: Float32Array, rows: number): void {
    const ring = this.begin("quantize");
    writeOperand(ring, "out", out, rows);
    ring.array("x", x, rows * out.columns);
    ring.number("rows", rows);
    ring.number("powerOfTwoScales", this.#powerOfTwoScales);
    this.end();
  }

  quantizeWeight(out: QuantizedWeight, x: Operand, rows: number): void {
    const { dtype, block } = out;
    refuseOtherBlock(dtype, block);
    const [scaleRows, scaleColumns] = scaleShape(dtype, [rows, x.columns], block)!;
    const ring = this.begin("quantizeWeight");
    ring.array("values", out.values, rows * rowBytes(dtype, x.columns));
    ring.array("scales", out.scales, scaleRows * scaleColumns);
    ring.array("errors", out.errors, 2 * rows);
    writeOperand(ring, "x", x, rows);
    ring.number("rows", rows);
    ring.number("dtype", dtypeNumbers[dtype]);
    ring.number("group", block[1]);
    ring.number("powerOfTwoScales", this.#powerOfTwoScales);
    this.end();
  }

  gemm(out: Float32Array, x: Operand, weight: Weight, rows: number): void {
    const mapped = this.#weights.linear(weight, x.format);
    const ring = this.begin("gemm");
    ring.array("out", out, rows * mapped.rows);
    writeOperand(ring, "x", x, rows);
    writeWeight(ring, "weight", weight, mapped, x.columns);
    ring.number("rows", rows);
    this.end();
  }

  groupedGemm(
    out: StoredRows,
    x: Operand,
    weights: readonly Weight[],
    groups: SortedRows,
    rows: number,
  ): void {
    const count = Math.min(weights.length, groups.starts.length - 1);
    if (count < 1) return;
    const ring = this.begin("groupedGemm");
    writeStoredRows(ring, "out", out, rows * this.#weights.linear(weights[0]).rows);
    writeOperand(ring, "x", x, rows);
    writeWeights(ring, "weights", weights, this.#weights, x.columns);
    ring.number("groups", count);
    ring.array("starts", groups.starts, count + 1);
    ring.number("rows", rows);
    this.end();
  }

  groupedMlp(
    out: StoredRows,
    x: Operand,
    weights: ExpertWeights,
    groups: SortedRows,
    buffers: MlpBuffers,
  ): void {
    const ring = this.begin("groupedMlp");
    writeStoredRows(ring, "out", out, buffers.pairs * x.columns);
    writeGroupedMlp(ring, x, weights, groups, buffers, this.#weights);
    ring.number("powerOfTwoScales", this.#powerOfTwoScales);
    this.end();
  }

  siluMultiply(out: Float32Array, gate: Float32Array, up: Float32Array, count: number): void {
    const ring = this.begin("siluMultiply");
    ring.array("out", out, count);
    ring.array("gate", gate, count);
    ring.array("up", up, count);
    ring.number("count", count);
    this.end();
  }

  ropeQuery(q: Float32Array, shape: MlaShape, rope: Rope, layout: StepLayout): void {
    const ring = this.begin("ropeQuery");
    ring.array("q", q, layout.rows * shape.heads * (shape.nope + shape.rope));
    writeMlaShape(ring, "shape", shape);
    writeRope(ring, "rope", rope, shape);
    writeLayout(ring, "layout", layout);
    this.end();
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
    const ring = this.begin("writeKv");
    writeStoredRows(ring, "cache", cache.entries, 0);
    ring.array("x", x, layout.rows * (shape.latent + shape.rope));
    writeWeight(ring, "gain", gain, this.#weights.map(gain), shape.latent);
    ring.number("epsilon", epsilon);
    writeMlaShape(ring, "shape", shape);
    writeRope(ring, "rope", rope, shape);
    writeLayout(ring, "layout", layout);
    ring.number("pages", pagesOf(cache, shape));
    this.end();
  }

  absorbQuery(
    out: Float32Array,
    q: Float32Array,
    kvB: Weight,
    shape: MlaShape,
    rows: number,
  ): void {
    const ring = this.begin("absorbQuery");
    ring.array("out", out, rows * shape.heads * shape.latent);
    ring.array("q", q, rows * shape.heads * (shape.nope + shape.rope));
    writeKvB(ring, kvB, this.#weights, shape);
    ring.number("rows", rows);
    ring.number("roundInputs", this.#roundInputs);
    this.end();
  }

  attention(
    out: Float32Array,
    absorbed: Float32Array,
    q: Float32Array,
    cache: KvLayer,
    shape: MlaShape,
    layout: StepLayout,
  ): void {
    const { heads, latent, nope, rope } = shape;
    const ring = this.begin("attention");
    ring.array("out", out, layout.rows * heads * latent);
    ring.array("absorbed", absorbed, layout.rows * heads * latent);
    ring.array("q", q, layout.rows * heads * (nope + rope));
    writeStoredRows(ring, "cache", cache.entries, 0);
    writeMlaShape(ring, "shape", shape);
    writeLayout(ring, "layout", layout);
    ring.number("pages", pagesOf(cache, shape));
    this.end();
  }

  projectValue(
    out: Float32Array,
    latentSum: Float32Array,
    kvB: Weight,
    shape: MlaShape,
    rows: number,
  ): void {
    const ring = this.begin("projectValue");
    ring.array("out", out, rows * shape.heads * shape.value);
    ring.array("latentSum", latentSum, rows * shape.heads * shape.latent);
    writeKvB(ring, kvB, this.#weights, shape);
    ring.number("rows", rows);
    ring.number("roundInputs", this.#roundInputs);
    this.end();
  }

  route(
    ids: Int32Array,
    weights: Float32Array,
    logits: Float32Array,
    bias: Weight | undefined,
    rule: GateRule,
    rows: number,
  ): void {
    const ring = this.begin("route");
    ring.array("ids", ids, rows * rule.topK);
    ring.array("weights", weights, rows * rule.topK);
    ring.array("logits", logits, rows * rule.experts);
    ring.number("hasBias", bias ? 1 : 0);
    if (bias) writeWeight(ring, "bias", bias, this.#weights.map(bias), rule.experts);
    else writeNoWeight(ring, "bias");
    writeGateRule(ring, "rule", rule);
    ring.number("rows", rows);
    this.end();
  }

  groupRows(out: RowGroups, ids: Int32Array, rule: GateRule, rows: number): void {
    const pairs = rows * rule.topK;
    const ring = this.begin("groupRows");
    ring.array("starts", out.starts, rule.experts + 1, "out");
    ring.array("sources", out.sources, pairs, "out");
    ring.array("places", out.places, pairs, "out");
    ring.array("ids", ids, pairs);
    ring.number("experts", rule.experts);
    ring.number("topK", rule.topK);
    ring.number("rows", rows);
    this.end();
  }

  gather(out: Operand, x: Operand, sources: Int32Array, rows: number): void {
    refuseUnlike("gather", out, x);
    const ring = this.begin("gather");
    writeOperand(ring, "out", out, rows);
    writeOperand(ring, "x", x, 0);
    ring.array("sources", sources, rows);
    ring.number("rows", rows);
    ring.number("sourceRows", rowsOf(x));
    this.end();
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
    const ring = this.begin("combine");
    ring.array("out", out, rows * hidden);
    writeStoredRows(ring, "expertRows", expertRows, 0);
    ring.array("weights", weights, rows * topK);
    ring.array("places", places, rows * topK);
    ring.number("topK", topK);
    ring.number("hidden", hidden);
    ring.number("rows", rows);
    ring.number("expertRowCount", Math.floor(expertRows.length / hidden));
    this.end();
  }

  sample(
    out: SampledRows,
    logits: Float32Array,
    vocabSize: number,
    { usable, rules, adjustments }: SamplingRows,
    rows: number,
  ): void {
    const ring = this.begin("sample");
    ring.array("tokens", out.tokens, rows, "out");
    ring.array("sums", out.sums, rows, "out");
    ring.array("likeliest", out.likeliest, rows * out.most, "out");
    ring.array("logits", logits, rows * vocabSize);
    ring.array("rules", rules, rows * RULE_WIDTH);
    writeAdjustments(ring, "adjustments", adjustments, rows);
    ring.number("most", out.most);
    ring.number("vocabSize", vocabSize);
    ring.number("usable", usable);
    ring.number("rows", rows);
    this.end();
  }

  dispatchRows(shared: SharedRows, turn: number, dispatched: DispatchedChoices): void {
    const ring = this.begin("dispatchRows");
    writeSharedRows(ring, shared, turn);
    writeDispatched(ring, dispatched, shared);
    this.end();
  }

  awaitDispatched(shared: SharedRows, turn: number): void {
    this.#awaitRanks(shared, turn, exchangeActs.dispatch);
  }

  groupArrived(out: RowGroups, shared: SharedRows, turn: number): void {
    const ring = this.begin("groupArrived");
    writeSharedRows(ring, shared, turn);
    writeArrived(ring, out);
    this.end();
  }

  returnRows(
    shared: SharedRows,
    turn: number,
    outputs: StoredRows,
    groups: RowGroups,
    bytesTo: Float64Array,
  ): void {
    const ring = this.begin("returnRows");
    writeSharedRows(ring, shared, turn);
    writeStoredRows(ring, "outputs", outputs, groups.places.length * shared.hidden);
    writeReturned(ring, groups);
    ring.array("bytesTo", bytesTo, shared.ranks);
    this.end();
  }

  awaitReturned(shared: SharedRows, turn: number): void {
    this.#awaitRanks(shared, turn, exchangeActs.giveBack);
  }

  stamp(at: Float64Array, epoch: number): void {
    const ring = this.begin("stamp");
    ring.array("at", at, 1);
    ring.number("epoch", epoch);
    this.end();
  }

  #awaitRanks(shared: SharedRows, turn: number, act: number): void {
    const ring = this.begin("awaitRanks");
    writeSharedRows(ring, shared, turn);
    ring.number("act", act);
    this.end();
  }
}
