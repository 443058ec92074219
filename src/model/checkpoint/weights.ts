import { int4Group, type ExpertWeights, type Weight } from "../../kernels/index.ts";
import type { ModelConfig } from "./config.ts";
import { CheckpointError } from "./safetensors.ts";

/** Where a graph's weights come from, by name and shape. */
export interface WeightSource {
  has(name: string): boolean;
  weight(name: string, shape: readonly number[]): Weight;
}

/** A SwiGLU: down(silu(gate x) ⊙ up x). */
export interface MlpWeights {
  readonly gate: Weight;
  readonly up: Weight;
  readonly down: Weight;
}

export interface AttentionWeights {
  /** Projected through a latent of its own (`q_lora_rank`), or directly. */
  readonly query:
    | { readonly kind: "direct"; readonly weight: Weight }
    | { readonly kind: "latent"; readonly a: Weight; readonly norm: Weight; readonly b: Weight };
  readonly kvA: Weight;
  readonly kvANorm: Weight;
  /** [heads × (nope + value), latent]: W_UK and W_UV, interleaved per head */
  readonly kvB: Weight;
  readonly output: Weight;
}

export interface MoeWeights {
  readonly kind: "moe";
  readonly router: Weight;
  /** `e_score_correction_bias`, of `noaux_tc` gates. */
  readonly bias: Weight | undefined;
  /** By logical expert. */
  readonly experts: ExpertWeights;
  readonly shared: MlpWeights | undefined;
}

export interface LayerWeights {
  readonly inputNorm: Weight;
  readonly attention: AttentionWeights;
  readonly postNorm: Weight;
  readonly ffn: (MlpWeights & { readonly kind: "dense" }) | MoeWeights;
}

/** Of the layer that predicts a token further; embedding and head are the trunk's. */
export interface MtpWeights {
  readonly tokenNorm: Weight;
  readonly stateNorm: Weight;
  /** [hidden, 2 × hidden]: of the embedding first, then of the state */
  readonly projection: Weight;
  readonly layer: LayerWeights;
  readonly outputNorm: Weight;
}

export interface ModelWeights {
  readonly embed: Weight;
  readonly layers: readonly LayerWeights[];
  readonly finalNorm: Weight;
  readonly head: Weight;
  /** Undefined where the checkpoint has none, whatever its config says. */
  readonly mtp: MtpWeights | undefined;
}

/**
 * What rows are multiplied with in linear layers: all matrices but embedding and router, and but the
 * two halves of `kv_b_proj`, which are used absorbed.
 */
export function linearWeights({ layers, head, mtp }: ModelWeights): Weight[] {
  const inMtp = mtp ? [mtp.projection, ...linearIn(mtp.layer)] : [];
  return [...layers.flatMap(linearIn), head, ...inMtp];
}

function linearIn({ attention, ffn }: LayerWeights): Weight[] {
  const { query, kvA, output } = attention;
  const queries = query.kind === "direct" ? [query.weight] : [query.a, query.b];
  const ofMlp = ({ gate, up, down }: MlpWeights) => [gate, up, down];
  if (ffn.kind === "dense") return [...queries, kvA, output, ...ofMlp(ffn)];
  const { gate, up, down } = ffn.experts;
  return [
    ...queries,
    kvA,
    output,
    ...gate,
    ...up,
    ...down,
    ...(ffn.shared ? ofMlp(ffn.shared) : []),
  ];
}

/** The graph's weights under their names on the hub; shapes and formats are checked, nothing is read. */
export function modelWeights(checkpoint: WeightSource, config: ModelConfig): ModelWeights {
  const { hiddenSize, vocabSize } = config;
  return {
    embed: plainWeight(checkpoint, "model.embed_tokens.weight", [vocabSize, hiddenSize]),
    layers: Array.from({ length: config.layers }, (_, i) => layerWeights(checkpoint, config, i)),
    finalNorm: plainWeight(checkpoint, "model.norm.weight", [hiddenSize]),
    head: checkpoint.weight("lm_head.weight", [vocabSize, hiddenSize]),
    mtp: mtpWeights(checkpoint, config),
  };
}

/** Of several layers the first; its copies of embedding and head, if it has any, are not looked at. */
function mtpWeights(checkpoint: WeightSource, config: ModelConfig): MtpWeights | undefined {
  const { layers, hiddenSize, nextTokenLayers } = config;
  const name = `model.layers.${layers}`;
  const projection = `${name}.eh_proj.weight`;
  if (nextTokenLayers === 0 || !checkpoint.has(projection)) return undefined;
  return {
    tokenNorm: plainWeight(checkpoint, `${name}.enorm.weight`, [hiddenSize]),
    stateNorm: plainWeight(checkpoint, `${name}.hnorm.weight`, [hiddenSize]),
    projection: checkpoint.weight(projection, [hiddenSize, 2 * hiddenSize]),
    layer: layerWeights(checkpoint, config, layers),
    outputNorm: plainWeight(checkpoint, `${name}.shared_head.norm.weight`, [hiddenSize]),
  };
}

function layerWeights(checkpoint: WeightSource, config: ModelConfig, layer: number): LayerWeights {
  const name = `model.layers.${layer}`;
  const norm = [config.hiddenSize];
  return {
    inputNorm: plainWeight(checkpoint, `${name}.input_layernorm.weight`, norm),
    attention: attentionWeights(checkpoint, config, `${name}.self_attn`),
    postNorm: plainWeight(checkpoint, `${name}.post_attention_layernorm.weight`, norm),
    ffn:
      layer < config.firstDense
        ? { kind: "dense", ...mlpWeights(checkpoint, config, `${name}.mlp`, config.denseWidth) }
        : moeWeights(checkpoint, config, `${name}.mlp`),
  };
}

/** What is read value by value, and has no scales. */
function plainWeight(checkpoint: WeightSource, name: string, shape: readonly number[]): Weight {
  const weight = checkpoint.weight(name, shape);
  if (!weight.scale) return weight;
  throw new CheckpointError(
    weight.file,
    `is ${weight.dtype}, as only matrices may be that rows are multiplied with`,
    name,
  );
}

/** A layer's experts are multiplied together, and a row is rounded once for all of them. */
function expectOneFormat(weights: readonly Weight[]): void {
  const [first] = weights;
  for (const weight of weights) {
    const [expected, got] = [formatName(first), formatName(weight)];
    if (got === expected) continue;
    throw new CheckpointError(
      weight.file,
      `expected ${expected} as ${first.name}, got ${got}`,
      weight.name,
    );
  }
}

function formatName({ dtype, shape, scale, packing }: Weight): string {
  if (dtype !== "I4" || !scale) return dtype;
  return `${dtype} in groups of ${int4Group(shape, scale.shape, packing?.order)}`;
}

function attentionWeights(
  checkpoint: WeightSource,
  config: ModelConfig,
  name: string,
): AttentionWeights {
  const { hiddenSize, heads, nopeWidth, ropeWidth, valueWidth, latentRank, queryRank } = config;
  const queries = heads * (nopeWidth + ropeWidth);
  const linear = (part: string, outputs: number, inputs: number) =>
    checkpoint.weight(`${name}.${part}.weight`, [outputs, inputs]);
  return {
    query: queryRank
      ? {
          kind: "latent",
          a: linear("q_a_proj", queryRank, hiddenSize),
          norm: plainWeight(checkpoint, `${name}.q_a_layernorm.weight`, [queryRank]),
          b: linear("q_b_proj", queries, queryRank),
        }
      : { kind: "direct", weight: linear("q_proj", queries, hiddenSize) },
    kvA: linear("kv_a_proj_with_mqa", latentRank + ropeWidth, hiddenSize),
    kvANorm: plainWeight(checkpoint, `${name}.kv_a_layernorm.weight`, [latentRank]),
    kvB: linear("kv_b_proj", heads * (nopeWidth + valueWidth), latentRank),
    output: linear("o_proj", hiddenSize, heads * valueWidth),
  };
}

function mlpWeights(
  checkpoint: WeightSource,
  { hiddenSize }: ModelConfig,
  name: string,
  width: number,
): MlpWeights {
  return {
    gate: checkpoint.weight(`${name}.gate_proj.weight`, [width, hiddenSize]),
    up: checkpoint.weight(`${name}.up_proj.weight`, [width, hiddenSize]),
    down: checkpoint.weight(`${name}.down_proj.weight`, [hiddenSize, width]),
  };
}

function moeWeights(checkpoint: WeightSource, config: ModelConfig, name: string): MoeWeights {
  const { gate, expertWidth, sharedExperts, hiddenSize } = config;
  const experts = Array.from({ length: gate.experts }, (_, e) =>
    mlpWeights(checkpoint, config, `${name}.experts.${e}`, expertWidth),
  );
  expectOneFormat(experts.flatMap((expert) => [expert.gate, expert.up]));
  expectOneFormat(experts.map((expert) => expert.down));
  const bias = `${name}.gate.e_score_correction_bias`;
  return {
    kind: "moe",
    router: checkpoint.weight(`${name}.gate.weight`, [gate.experts, hiddenSize]),
    bias: gate.method === "noaux_tc" ? plainWeight(checkpoint, bias, [gate.experts]) : undefined,
    experts: {
      gate: experts.map((expert) => expert.gate),
      up: experts.map((expert) => expert.up),
      down: experts.map((expert) => expert.down),
    },
    shared: sharedExperts
      ? mlpWeights(checkpoint, config, `${name}.shared_experts`, sharedExperts * expertWidth)
      : undefined,
  };
}
