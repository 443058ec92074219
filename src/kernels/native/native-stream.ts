import { CommandRing } from "./command-ring.ts";
import { dtypeNumbers, type MappedWeights } from "./mapped-weights.ts";
import type { AddonStream, NativeAddon, Operation } from "../native-addon.ts";
import type { Policy, ScaleFormat } from "../policy.ts";
import { operandFormat } from "../quantize.ts";
import {
  ADJUSTMENT_WIDTH,
  RULE_WIDTH,
  type GateRule,
  type KvLayer,
  type MlaShape,
  type Operand,
  type QuantizedWeight,
  type Rope,
  type RowGroups,
  type SampledRows,
  type SamplingRows,
  type StepLayout,
  type StoredRows,
  type Stream,
} from "../stream.ts";
import { SCALE_BLOCK, type Weight } from "../weight.ts";

const formatNumbers = { f32: dtypeNumbers.F32, bf16: dtypeNumbers.BF16, fp8: dtypeNumbers.F8_E4M3 };
const scoringNumbers = { sigmoid: 0, softmax: 1 };
const methodNumbers = { noaux_tc: 0, group_limited_greedy: 1, greedy: 2 };

export interface NativeStreamOptions {
  readonly addon: NativeAddon;
  readonly weights: MappedWeights;
  readonly policy: Policy;
  readonly scales: ScaleFormat;
  /** An instruction set's, or its faster ones for single rows. */
  readonly kernels: string;
  readonly threads: number;
  readonly cores: number;
}

/** A caller of `fence` and the commands it waits for. */
interface Waiter {
  readonly target: number;
  readonly settle: () => void;
}

/** Streams with commands to run: what these point to must not be collected before them. */
const busy = new Set<NativeStream>();

/**
 * A stream computed by threads of the addon. An operation is written to the ring as the words that
 * native/decode.cc reads in the same order; sizes are checked here, where an error can be thrown.
 */
export class NativeStream implements Stream {
  readonly policy: Policy;
  /** Threads it got, which may be fewer than wanted. */
  readonly threads: number;
  readonly #weights: MappedWeights;
  readonly #roundInputs: number;
  readonly #powerOfTwoScales: number;
  readonly #ring: CommandRing;
  readonly #native: AddonStream;
  readonly #waiters: Waiter[] = [];
  #closed = false;
  #resets = 0;

  constructor(options: NativeStreamOptions) {
    const { addon, weights, policy, kernels, threads, cores } = options;
    this.policy = policy;
    this.#weights = weights;
    this.#roundInputs = policy === "f32" ? 0 : 1;
    this.#powerOfTwoScales = options.scales === "ue8m0" ? 1 : 0;
    this.#ring = new CommandRing(addon);
    // The addon holds the callback; a stream that nobody holds is to be collected with its threads.
    const self = new WeakRef(this);
    const { header, words } = this.#ring;
    this.#native = new addon.Stream({
      ...{ header, words, threads, cores, instructionSet: kernels },
      files: weights.files,
      onExecuted: () => {
        const stream = self.deref();
        if (stream) stream.#settleReached();
      },
    });
    this.threads = this.#native.threads;
  }

  operandFormat(weight: Weight): Operand["format"] {
    return operandFormat(this.policy, weight.dtype);
  }

  embed(out: Float32Array, table: Weight, tokens: Int32Array, rows: number): void {
    const { columns } = this.#weights.map(table);
    this.#begin("embed");
    this.#ring.array("out", out, rows * columns);
    this.#weight(table);
    this.#ring.array("tokens", tokens, rows);
    this.#end(rows);
  }

  rmsNorm(out: Float32Array, x: Float32Array, gain: Weight, epsilon: number, rows: number): void {
    const { columns } = this.#weights.map(gain);
    this.#begin("rmsNorm");
    this.#ring.array("out", out, rows * columns);
    this.#ring.array("x", x, rows * columns);
    this.#weight(gain);
    this.#end(epsilon, rows);
  }

  add(x: Float32Array, y: Float32Array, count: number): void {
    this.#begin("add");
    this.#ring.array("x", x, count);
    this.#ring.array("y", y, count);
    this.#end(count);
  }

  quantize(out: Operand, x: Float32Array, rows: number): void {
    this.#begin("quantize");
    this.#operand("out", out, rows);
    this.#ring.array("x", x, rows * out.columns);
    this.#end(rows, this.#powerOfTwoScales);
  }

  quantizeWeight(out: QuantizedWeight, x: Operand, rows: number): void {
    const blocks = Math.ceil(rows / SCALE_BLOCK) * Math.ceil(x.columns / SCALE_BLOCK);
    this.#begin("quantizeWeight");
    this.#ring.array("values", out.values, rows * x.columns);
    this.#ring.array("scales", out.scales, blocks);
    this.#operand("x", x, rows);
    this.#end(rows, this.#powerOfTwoScales);
  }

  gemm(out: Float32Array, x: Operand, weight: Weight, rows: number): void {
    this.#begin("gemm");
    this.#ring.array("out", out, rows * this.#weights.map(weight).rows);
    this.#operand("x", x, rows);
    this.#weight(weight, x.columns);
    this.#end(rows);
  }

  groupedGemm(
    out: StoredRows,
    x: Operand,
    weights: readonly Weight[],
    groups: RowGroups,
    rows: number,
  ): void {
    const count = Math.min(weights.length, groups.starts.length - 1);
    if (count < 1) return;
    this.#begin("groupedGemm");
    this.#storedRows("out", out, rows * this.#weights.map(weights[0]).rows);
    this.#operand("x", x, rows);
    this.#ring.array("weights", this.#weights.table(weights), 0);
    this.#ring.number(count);
    this.#ring.array("starts", groups.starts, count + 1);
    this.#end();
  }

  siluMultiply(out: Float32Array, gate: Float32Array, up: Float32Array, count: number): void {
    this.#begin("siluMultiply");
    this.#ring.array("out", out, count);
    this.#ring.array("gate", gate, count);
    this.#ring.array("up", up, count);
    this.#end(count);
  }

  ropeQuery(q: Float32Array, shape: MlaShape, rope: Rope, layout: StepLayout): void {
    this.#begin("ropeQuery");
    this.#ring.array("q", q, layout.rows * shape.heads * (shape.nope + shape.rope));
    this.#mlaShape(shape);
    this.#rope(rope, shape);
    this.#layout(layout);
    this.#end();
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
    this.#begin("writeKv");
    this.#storedRows("cache", cache.entries, 0);
    this.#ring.array("x", x, layout.rows * (shape.latent + shape.rope));
    this.#weight(gain, shape.latent);
    this.#ring.number(epsilon);
    this.#mlaShape(shape);
    this.#rope(rope, shape);
    this.#layout(layout);
    this.#end();
  }

  absorbQuery(
    out: Float32Array,
    q: Float32Array,
    kvB: Weight,
    shape: MlaShape,
    rows: number,
  ): void {
    this.#begin("absorbQuery");
    this.#ring.array("out", out, rows * shape.heads * shape.latent);
    this.#ring.array("q", q, rows * shape.heads * (shape.nope + shape.rope));
    this.#weight(kvB, shape.latent);
    this.#mlaShape(shape);
    this.#end(rows, this.#roundInputs);
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
    this.#begin("attention");
    this.#ring.array("out", out, layout.rows * heads * latent);
    this.#ring.array("absorbed", absorbed, layout.rows * heads * latent);
    this.#ring.array("q", q, layout.rows * heads * (nope + rope));
    this.#storedRows("cache", cache.entries, 0);
    this.#mlaShape(shape);
    this.#layout(layout);
    this.#end(this.#roundInputs);
  }

  projectValue(
    out: Float32Array,
    latentSum: Float32Array,
    kvB: Weight,
    shape: MlaShape,
    rows: number,
  ): void {
    this.#begin("projectValue");
    this.#ring.array("out", out, rows * shape.heads * shape.value);
    this.#ring.array("latentSum", latentSum, rows * shape.heads * shape.latent);
    this.#weight(kvB, shape.latent);
    this.#mlaShape(shape);
    this.#end(rows, this.#roundInputs);
  }

  route(
    ids: Int32Array,
    weights: Float32Array,
    logits: Float32Array,
    bias: Weight | undefined,
    rule: GateRule,
    rows: number,
  ): void {
    this.#begin("route");
    this.#ring.array("ids", ids, rows * rule.topK);
    this.#ring.array("weights", weights, rows * rule.topK);
    this.#ring.array("logits", logits, rows * rule.experts);
    if (bias) this.#weight(bias, rule.experts);
    else this.#numbers(0, 0, 0, 0, 0);
    this.#numbers(bias ? 1 : 0, rule.experts, rule.topK);
    this.#numbers(scoringNumbers[rule.scoring], methodNumbers[rule.method]);
    this.#numbers(rule.groups, rule.topGroups, rule.normalise ? 1 : 0, rule.scale);
    this.#end(rows);
  }

  groupRows(out: RowGroups, ids: Int32Array, rule: GateRule, rows: number): void {
    const pairs = rows * rule.topK;
    this.#begin("groupRows");
    this.#ring.array("starts", out.starts, rule.experts + 1);
    this.#ring.array("sources", out.sources, pairs);
    this.#ring.array("places", out.places, pairs);
    this.#ring.array("ids", ids, pairs);
    this.#end(rule.experts, rule.topK, rows);
  }

  gather(out: Operand, x: Operand, sources: Int32Array, rows: number): void {
    this.#begin("gather");
    this.#operand("out", out, rows);
    this.#operand("x", x, 0);
    this.#ring.array("sources", sources, rows);
    this.#end(rows);
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
    this.#begin("combine");
    this.#ring.array("out", out, rows * hidden);
    this.#storedRows("expertRows", expertRows, 0);
    this.#ring.array("weights", weights, rows * topK);
    this.#ring.array("places", places, rows * topK);
    this.#end(topK, hidden, rows);
  }

  sample(
    out: SampledRows,
    logits: Float32Array,
    vocabSize: number,
    { usable, rules, starts, adjustments }: SamplingRows,
    rows: number,
  ): void {
    this.#begin("sample");
    this.#ring.array("tokens", out.tokens, rows);
    this.#ring.array("sums", out.sums, rows);
    this.#ring.array("likeliest", out.likeliest, rows * out.most);
    this.#ring.array("logits", logits, rows * vocabSize);
    this.#ring.array("rules", rules, rows * RULE_WIDTH);
    this.#ring.array("starts", starts, rows + 1);
    this.#ring.array("adjustments", adjustments, starts[rows] * ADJUSTMENT_WIDTH);
    this.#end(out.most, vocabSize, usable, rows);
  }

  async fence(): Promise<void> {
    const target = this.#ring.published;
    const resets = this.#resets;
    if (!this.#closed && !this.#ring.reached(target)) await this.#executed(target);
    if (this.#closed) throw new Error("the stream is closed");
    if (this.#ring.reached(this.#ring.published)) {
      this.#ring.letGoOfAll();
      busy.delete(this);
    }
    const { failure } = this.#native;
    if (failure) throw new Error(failure);
    if (this.#resets !== resets) throw new Error("the stream was reset before all had run");
  }

  reset(): void {
    if (this.#closed) return;
    this.#resets++;
    this.#native.reset();
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#native.close();
    busy.delete(this);
    for (const { settle } of this.#waiters.splice(0)) settle();
  }

  /** Resolves when the commands before number `target` have run, or the stream is closed. */
  #executed(target: number): Promise<void> | undefined {
    // Whoever waits already has announced an earlier command.
    if (this.#waiters.length === 0 && this.#native.announce(target)) return undefined;
    return new Promise((settle) => this.#waiters.push({ target, settle }));
  }

  #settleReached(): void {
    const waiters = this.#waiters;
    while (!this.#closed && waiters.length > 0) {
      const [{ target, settle }] = waiters;
      if (!this.#ring.reached(target) && !this.#native.announce(target)) return;
      waiters.shift();
      settle();
    }
  }

  #begin(operation: Operation): void {
    if (this.#closed) throw new Error("the stream is closed");
    busy.add(this);
    this.#ring.begin(operation, this.#native);
  }

  #end(...last: readonly number[]): void {
    for (const value of last) this.#ring.number(value);
    this.#ring.publish(this.#native);
  }

  #numbers(...values: readonly number[]): void {
    for (const value of values) this.#ring.number(value);
  }

  /** A weight whose rows are as wide as what it is used with. */
  #weight(weight: Weight, width?: number): void {
    const { dtype, rows, columns, data, scales } = this.#weights.map(weight);
    if (width !== undefined && columns !== width) {
      throw new RangeError(`tensor ${weight.name} has ${columns} columns, ${width} are needed`);
    }
    this.#numbers(dtype, rows, columns, data, scales);
  }

  #operand(name: string, operand: Operand, rows: number): void {
    const { format, columns, values } = operand;
    this.#numbers(formatNumbers[format], columns);
    this.#ring.array(name, values, rows * columns);
    if (format !== "fp8") this.#ring.number(0);
    else {
      this.#ring.array(`${name}'s scales`, operand.scales, rows * Math.ceil(columns / SCALE_BLOCK));
    }
  }

  #storedRows(name: string, rows: StoredRows, count: number): void {
    this.#ring.number(rows instanceof Float32Array ? formatNumbers.f32 : formatNumbers.bf16);
    this.#ring.array(name, rows, count);
  }

  #mlaShape({ heads, nope, rope, value, latent, scale }: MlaShape): void {
    this.#numbers(heads, nope, rope, value, latent, scale);
  }

  #rope({ frequencies, amplitude, interleaved }: Rope, shape: MlaShape): void {
    this.#ring.array("frequencies", frequencies, shape.rope / 2);
    this.#numbers(amplitude, interleaved ? 1 : 0);
  }

  #layout({ rows, positions, rowStarts, pageTables, tableStride }: StepLayout): void {
    const sequences = rowStarts.length - 1;
    this.#numbers(rows, sequences, tableStride);
    this.#ring.array("positions", positions, rows);
    this.#ring.array("rowStarts", rowStarts, sequences + 1);
    this.#ring.array("pageTables", pageTables, sequences * tableStride);
  }
}
