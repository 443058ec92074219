import type { Operand, StoredRows } from "./operand-format.ts";
import type { Policy, ScaleFormat } from "./policy.ts";
import type { ScaleBlock, WeightDtype } from "./weight-format.ts";
import type { Weight } from "./weight.ts";

/** A quantised weight's rows as a checkpoint keeps them. */
export interface QuantizedWeight {
  readonly dtype: QuantizedDtype;
  /** Rows and columns that share a scale. */
  readonly block: ScaleBlock;
  /** Codes, `rowBytes` a row. */
  readonly values: Uint8Array;
  /** `scaleShape` of the rows; INT4's are BF16 values. */
  readonly scales: Float32Array;
  /** Of each row, the squares of what rounding changed and of the values, summed. [rows, 2] */
  readonly errors: Float64Array;
}

/** What weights are quantised to. */
export type QuantizedDtype = "F8_E4M3" | "I8" | "I4";

/** Multi-head latent attention's sizes. */
export interface MlaShape {
  readonly heads: number;
  /** Width of a query head's part without position, `qk_nope_head_dim`. */
  readonly nope: number;
  /** Width of the rotated part, `qk_rope_head_dim`. */
  readonly rope: number;
  /** Width of a value head, `v_head_dim`. */
  readonly value: number;
  /** Width of the cached latent, `kv_lora_rank`. */
  readonly latent: number;
  /** Softmax scale, YaRN's correction included. */
  readonly scale: number;
}

/** Rotary embedding of pairs of values: angle = position × frequency. */
export interface Rope {
  /** [rope / 2] */
  readonly frequencies: Float32Array;
  /** Amplitude of cos and sin (1 in every released model). */
  readonly amplitude: number;
  /** Pairs are adjacent values; otherwise value i pairs with i + rope / 2. */
  readonly interleaved: boolean;
}

/**
 * One layer's paged KV cache. A page holds PAGE_TOKENS entries; an entry is the normalised latent
 * followed by the rotated key. `entries` is `[pages × PAGE_TOKENS, latent + rope]`.
 */
export interface KvLayer {
  readonly entries: StoredRows;
}

export const PAGE_TOKENS = 64;

/** Whole pages that a cache holds. */
export function pagesOf({ entries }: KvLayer, { latent, rope }: MlaShape): number {
  return Math.floor(entries.length / (PAGE_TOKENS * (latent + rope)));
}

/** Attention is computed over pieces of this many absolute positions, combined in order. */
export const KV_PIECE_TOKENS = 256;

/** Which context each row of a step sees: rows of a sequence are consecutive. */
export interface StepLayout {
  readonly rows: number;
  /** Absolute position of each row; a row sees positions 0 up to its own. */
  readonly positions: Int32Array;
  /** Rows of sequence s are `rowStarts[s]` up to `rowStarts[s + 1]`. */
  readonly rowStarts: Int32Array;
  /** `[sequences, tableStride]`: page of each 64 positions of a sequence; unused slots hold anything. */
  readonly pageTables: Int32Array;
  readonly tableStride: number;
}

/** How a gate chooses experts. */
export interface GateRule {
  readonly experts: number;
  readonly topK: number;
  readonly scoring: "sigmoid" | "softmax";
  /** `noaux_tc`: biased choice, top-two-sum groups; `group_limited_greedy`: group maximum; `greedy`. */
  readonly method: "noaux_tc" | "group_limited_greedy" | "greedy";
  readonly groups: number;
  readonly topGroups: number;
  readonly normalise: boolean;
  readonly scale: number;
}

/** Rows sorted by expert: a step's (row, choice) pairs in the order their experts compute them. */
export interface RowGroups extends SortedRows {
  /** Sorted place of pair (row, choice). [rows, topK] */
  readonly places: Int32Array;
}

/** Pairs sorted by expert. */
export interface SortedRows {
  /** Rows of expert e are `starts[e]` up to `starts[e + 1]`. [experts + 1] */
  readonly starts: Int32Array;
  /** Source row of each sorted pair. [pairs] */
  readonly sources: Int32Array;
}

/** Matrices of SwiGLUs, by expert. What a kernel makes of a list it keeps as long as the list. */
export interface ExpertWeights {
  readonly gate: readonly Weight[];
  readonly up: readonly Weight[];
  readonly down: readonly Weight[];
}

/** What lies between a grouped MLP's rows and its outputs, for so many pairs. */
export interface MlpBuffers {
  readonly pairs: number;
  /** Rows in the experts' order. [pairs, hidden] */
  readonly sorted: Operand;
  /** [pairs, expert width] */
  readonly gate: Float32Array;
  readonly up: Float32Array;
  /** Their product, as a matmul's input. [pairs, expert width] */
  readonly product: Operand;
}

/** A bit for each token that may come, the lowest of the first word being token 0's; none beyond its words. */
export type TokenMask = Uint32Array;

/** Numbers of a row's sampling rule, and of a counted token. */
export const RULE_WIDTH = 9;
export const COUNT_WIDTH = 2;

/** What changes a row's logits before its token is chosen: penalties, then biases; and which tokens it may be. */
export interface LogitAdjustments {
  /**
   * Distinct tokens of the context, and how often each was generated: a logit x becomes
   * x / repetition, or x · repetition where it is not above 0; then what was generated takes off
   * presence + count · frequency. [distinct, 2]
   */
  readonly counted: Int32Array;
  readonly distinct: number;
  /** Tokens counted anew, in place of what `counted` says of them. [.., 2] */
  readonly proposed: Int32Array;
  /** Tokens and what is added to their logits. */
  readonly biasTokens: Int32Array;
  readonly biases: Float64Array;
  /** The token is chosen as if there were no others. Undefined: there are all. */
  readonly allowed?: TokenMask | undefined;
}

/** How tokens are chosen, row by row. */
export interface SamplingRows {
  /** Tokens from here on are never chosen, and adjustments of them have no effect. */
  readonly usable: number;
  /**
   * Temperature (0 is greedy), top-k (0 keeps all), top-p, min-p, a random number in [0, 1), how
   * many of the likeliest tokens are wanted, and penalties of repetition, presence and frequency.
   * [rows, 9]
   */
  readonly rules: Float64Array;
  /** Undefined where a row's logits stay as they are. */
  readonly adjustments: readonly (LogitAdjustments | undefined)[];
}

/**
 * Chosen tokens. A row that wants likeliest tokens, and has a token, also gets the parts of
 * log-probabilities, taken of its logits before any adjustment.
 */
export interface SampledRows {
  /** −1 where a logit is NaN or the largest infinite. [rows] */
  readonly tokens: Int32Array;
  /** Σ exp(logit − largest) over usable tokens. [rows] */
  readonly sums: Float64Array;
  /** Width of `likeliest`. */
  readonly most: number;
  /** Likeliest first, the lower of equals. [rows, most] */
  readonly likeliest: Int32Array;
}

/**
 * The arithmetic of a layer as a stream of operations: each call enqueues, writes only to its
 * out-parameters, and its results may be read after `await fence()`. Activations are float32 and
 * row-major; each operation rounds its inputs where the stream's policy says. A row's bits depend
 * only on that row, its context and the policy. An array that is too short is refused when an
 * operation is enqueued; an index that leads out of what it points into, which an earlier operation
 * may have written, fails its operation.
 */
export interface Stream {
  readonly policy: Policy;
  /** The operand format in which rows enter a matmul with `weight`. */
  operandFormat(weight: Weight): Operand["format"];
  /** out[rows, hidden] = table[tokens] */
  embed(out: Float32Array, table: Weight, tokens: Int32Array, rows: number): void;
  /** out = gain ⊙ x / sqrt(mean(x²) + epsilon), over rows of gain's width. */
  rmsNorm(out: Float32Array, x: Float32Array, gain: Weight, epsilon: number, rows: number): void;
  /** x += y, elementwise over `count` values. */
  add(x: Float32Array, y: Float32Array, count: number): void;
  /** Rounds rows to a matmul's input. */
  quantize(out: Operand, x: Float32Array, rows: number): void;
  /** Rounds a weight's float32 or BF16 rows to codes with a scale for each block. */
  quantizeWeight(out: QuantizedWeight, x: Operand, rows: number): void;
  /** out[rows, outputs] = x · weightᵀ */
  gemm(out: Float32Array, x: Operand, weight: Weight, rows: number): void;
  /** Row groups of x times their own weight; out rows are rounded if `out` holds BF16. */
  groupedGemm(
    out: StoredRows,
    x: Operand,
    weights: readonly Weight[],
    groups: SortedRows,
    rows: number,
  ): void;
  /**
   * SwiGLU of rows sorted by expert: out = W_down(silu(W_gate x) ⊙ W_up x), one row for each of the
   * `starts[experts]` pairs that an earlier operation has sorted. `buffers` hold what lies between.
   */
  groupedMlp(
    out: StoredRows,
    x: Operand,
    weights: ExpertWeights,
    groups: SortedRows,
    buffers: MlpBuffers,
  ): void;
  /** out = silu(gate) ⊙ up, over `count` values. */
  siluMultiply(out: Float32Array, gate: Float32Array, up: Float32Array, count: number): void;
  /** Rotates the last `rope` values of every head in place; q is [rows, heads, nope + rope]. */
  ropeQuery(q: Float32Array, shape: MlaShape, rope: Rope, layout: StepLayout): void;
  /** Normalises the latent, rotates the key and stores both; x is [rows, latent + rope]. */
  writeKv(
    cache: KvLayer,
    x: Float32Array,
    gain: Weight,
    epsilon: number,
    shape: MlaShape,
    rope: Rope,
    layout: StepLayout,
  ): void;
  /** out[rows, heads, latent] = W_UKᵀ q_nope; W_UK is the first `nope` rows of each head of kvB. */
  absorbQuery(out: Float32Array, q: Float32Array, kvB: Weight, shape: MlaShape, rows: number): void;
  /** out[rows, heads, latent] = Σ softmax(scale · (absorbed·latent + q_rope·key)) latent, causal. */
  attention(
    out: Float32Array,
    absorbed: Float32Array,
    q: Float32Array,
    cache: KvLayer,
    shape: MlaShape,
    layout: StepLayout,
  ): void;
  /** out[rows, heads, value] = W_UV latentSum; W_UV is the last `value` rows of each head of kvB. */
  projectValue(
    out: Float32Array,
    latentSum: Float32Array,
    kvB: Weight,
    shape: MlaShape,
    rows: number,
  ): void;
  /** ids and weights [rows, topK], ascending by expert id; bias only with `noaux_tc`. */
  route(
    ids: Int32Array,
    weights: Float32Array,
    logits: Float32Array,
    bias: Weight | undefined,
    rule: GateRule,
    rows: number,
  ): void;
  /** Sorts a step's (row, choice) pairs by expert, rows ascending inside one. */
  groupRows(out: RowGroups, ids: Int32Array, rule: GateRule, rows: number): void;
  /** out row i = x row sources[i]. */
  gather(out: Operand, x: Operand, sources: Int32Array, rows: number): void;
  /** out[row] = Σ weights[row, j] · expertRows[places[row, j]] in ascending j; rows of `hidden`. */
  combine(
    out: Float32Array,
    expertRows: StoredRows,
    weights: Float32Array,
    places: Int32Array,
    topK: number,
    hidden: number,
    rows: number,
  ): void;
  /** Chooses a token for each row of logits [rows, vocabSize]; every backend chooses the same. */
  sample(
    out: SampledRows,
    logits: Float32Array,
    vocabSize: number,
    sampling: SamplingRows,
    rows: number,
  ): void;
  /**
   * Writes when what was enqueued before has run, in microseconds of process.hrtime since `epoch`. Only
   * of streams that compute on their own: other callers have a clock themselves.
   */
  readonly stamp?: ((at: Float64Array, epoch: number) => void) | undefined;
  /** Nothing need run before a fence: what is enqueued when nothing is awaited has no time yet. */
  readonly computesAtFence?: boolean;
  /**
   * Resolves when everything enqueued has been computed; rejects if an operation failed. After a
   * failure no operation runs, and every fence rejects, until the stream is reset.
   */
  fence(): Promise<void>;
  /**
   * Gives up what has been enqueued and forgets a failure; operations enqueued later run. Fences
   * that wait meanwhile reject. The stream's owner calls it once no part of the failed work
   * enqueues any more.
   */
  reset(): void;
  /** Ends the stream and its threads: operations that have not run never will, and `fence` rejects. */
  close(): void;
}

/** The bits of every backend but those of kernels on BF16 tiles, under policies that let them run. */
export const COMMON_BITS = "common";

/** A backend of the arithmetic. */
export interface Kernels {
  readonly name: string;
  /** What the kernels are compiled for. */
  readonly instructionSet: string;
  /** Faster modes that give other bits, sorted by name. */
  readonly modes: readonly string[];
  /** Names the bits of results under a policy: of one name they are the same, on any machine. */
  bitsOf(policy: Policy): string;
  /** Most compute threads of a stream. */
  readonly threads: number;
  /** Weights of these dtypes are refused. */
  unsupported(policy: Policy): readonly WeightDtype[];
  /** Linear weights of these dtypes are multiplied faster where they have strips. */
  stripDtypes(policy: Policy): readonly WeightDtype[];
  /** Brings files of weights into memory, which blocks while they are copied. */
  load(files: readonly string[]): void;
  /** `scales`: of values the stream quantises; float32 unless said otherwise. */
  createStream(policy: Policy, scales?: ScaleFormat): Stream;
}
