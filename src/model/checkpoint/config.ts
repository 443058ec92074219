import { join } from "node:path";
import { z } from "zod";
import type { GateRule } from "../../kernels/index.ts";
import { parseModelJson, readIfThere, readModelFile } from "../model-file.ts";
import { parseQuantization, type Quantization, type Refuse } from "./quantization-config.ts";

/** A config field that is missing, mistyped or asks for something not implemented. */
export class ConfigError extends Error {
  override readonly name = "ConfigError";
}

/** YaRN's parameters (`rope_scaling`). */
export interface YarnScaling {
  readonly factor: number;
  readonly originalLength: number;
  readonly betaFast: number;
  readonly betaSlow: number;
  readonly mscale: number | undefined;
  readonly mscaleAllDim: number | undefined;
}

/** A DeepSeek-V3-architecture model's sizes and rules, normalised from either config dialect. */
export interface ModelConfig {
  readonly modelType: string;
  readonly vocabSize: number;
  readonly hiddenSize: number;
  /** Width of a dense layer's SwiGLU. */
  readonly denseWidth: number;
  /** Width of one routed expert's SwiGLU. */
  readonly expertWidth: number;
  readonly layers: number;
  readonly heads: number;
  /** `q_lora_rank`; undefined where queries are projected directly. */
  readonly queryRank: number | undefined;
  readonly latentRank: number;
  readonly nopeWidth: number;
  readonly ropeWidth: number;
  readonly valueWidth: number;
  readonly sharedExperts: number;
  readonly gate: GateRule;
  /** Layers before this one are dense. */
  readonly firstDense: number;
  readonly normEpsilon: number;
  /** Of the two latent norms: constant in DeepSeek's and Hugging Face's code. */
  readonly latentNormEpsilon: number;
  readonly rope: {
    readonly theta: number;
    readonly scaling: YarnScaling | undefined;
    readonly interleaved: boolean;
  };
  readonly maxPositions: number;
  readonly bosToken: number | undefined;
  readonly eosTokens: readonly number[];
  readonly nextTokenLayers: number;
  readonly quantization: Quantization;
}

const LATENT_NORM_EPSILON = 1e-6;
const families = ["deepseek_v3", "kimi_k2", "deepseek_v2", "glm4_moe_lite"] as const;

const size = z
  .int()
  .positive()
  .max(2 ** 31 - 1);
const count = z
  .int()
  .nonnegative()
  .max(2 ** 31 - 1);
const ids = z.union([count, z.array(count)]).nullish();

const ropeSchema = z.looseObject({
  type: z.string().optional(),
  rope_type: z.string().optional(),
  rope_theta: z.number().positive().optional(),
  factor: z.number().positive().optional(),
  original_max_position_embeddings: size.optional(),
  beta_fast: z.number().positive().optional(),
  beta_slow: z.number().positive().optional(),
  mscale: z.number().optional(),
  mscale_all_dim: z.number().optional(),
});

const configSchema = z.looseObject({
  model_type: z.string(),
  vocab_size: size,
  hidden_size: size,
  intermediate_size: size,
  moe_intermediate_size: size,
  num_hidden_layers: size,
  num_attention_heads: size,
  q_lora_rank: size.nullish(),
  kv_lora_rank: size,
  qk_nope_head_dim: size,
  qk_rope_head_dim: size,
  v_head_dim: size,
  n_routed_experts: size,
  n_shared_experts: count.nullish(),
  num_experts_per_tok: size,
  n_group: size.nullish(),
  topk_group: size.nullish(),
  topk_method: z.string().nullish(),
  scoring_func: z.string().nullish(),
  norm_topk_prob: z.boolean().nullish(),
  routed_scaling_factor: z.number().positive().nullish(),
  first_k_dense_replace: count.nullish(),
  mlp_layer_types: z.array(z.string()).nullish(),
  moe_layer_freq: z.union([z.int(), z.array(z.int())]).nullish(),
  rms_norm_eps: z.number().positive(),
  rope_theta: z.number().positive().nullish(),
  rope_scaling: ropeSchema.nullish(),
  rope_parameters: ropeSchema.nullish(),
  rope_interleave: z.boolean().nullish(),
  max_position_embeddings: size,
  bos_token_id: count.nullish(),
  eos_token_id: ids,
  num_nextn_predict_layers: count.nullish(),
  attention_bias: z.boolean().nullish(),
  hidden_act: z.string().nullish(),
  tie_word_embeddings: z.boolean().nullish(),
  quantization_config: z.record(z.string(), z.unknown()).nullish(),
});

type RawConfig = z.infer<typeof configSchema>;

/** Reads config.json, and generation_config.json where there is one, of a checkpoint directory. */
export async function readConfig(directory: string): Promise<ModelConfig> {
  const file = join(directory, "config.json");
  const config = parseConfig(parseModelJson(await readModelFile(file), file), file);
  const generationFile = join(directory, "generation_config.json");
  const generation = await readIfThere(generationFile);
  const parsed = z
    .looseObject({ eos_token_id: ids })
    .safeParse(generation ? parseModelJson(generation, generationFile) : {});
  if (!parsed.success) throw describeIssue(parsed.error, generationFile);
  const stops = [...config.eosTokens, ...listOf(parsed.data.eos_token_id)];
  return { ...config, eosTokens: [...new Set(stops)] };
}

/** Normalises a parsed config.json; `source` names it in errors. */
export function parseConfig(json: unknown, source: string): ModelConfig {
  if (json !== null && typeof json === "object" && "text_config" in json) {
    throw new ConfigError(`${source}: text_config (a multimodal checkpoint) is not supported`);
  }
  const parsed = configSchema.safeParse(json);
  if (!parsed.success) {
    refuseFamily((json as { model_type?: unknown } | null)?.model_type, source);
    throw describeIssue(parsed.error, source);
  }
  const raw = parsed.data;
  refuseFamily(raw.model_type, source);
  const refuse = (field: string, value: unknown, why: string) => {
    throw new ConfigError(`${source}: ${field} ${JSON.stringify(value)} is not supported: ${why}`);
  };
  refuseUnsupported(raw, refuse);
  return {
    modelType: raw.model_type,
    vocabSize: raw.vocab_size,
    hiddenSize: raw.hidden_size,
    denseWidth: raw.intermediate_size,
    expertWidth: raw.moe_intermediate_size,
    layers: raw.num_hidden_layers,
    heads: raw.num_attention_heads,
    queryRank: raw.q_lora_rank ?? undefined,
    latentRank: raw.kv_lora_rank,
    nopeWidth: raw.qk_nope_head_dim,
    ropeWidth: raw.qk_rope_head_dim,
    valueWidth: raw.v_head_dim,
    sharedExperts: raw.n_shared_experts ?? 0,
    gate: gateRule(raw, source),
    firstDense: firstDense(raw, source),
    normEpsilon: raw.rms_norm_eps,
    latentNormEpsilon: LATENT_NORM_EPSILON,
    rope: ropeConfig(raw, source),
    maxPositions: raw.max_position_embeddings,
    bosToken: raw.bos_token_id ?? undefined,
    eosTokens: listOf(raw.eos_token_id),
    nextTokenLayers: raw.num_nextn_predict_layers ?? 0,
    quantization: parseQuantization(raw.quantization_config, refuse),
  };
}

function listOf(value: number | number[] | null | undefined): number[] {
  return value === null || value === undefined ? [] : [value].flat();
}

function describeIssue(error: z.ZodError, source: string): ConfigError {
  const [issue] = error.issues;
  return new ConfigError(`${source}: ${issue.path.join(".") || "the file"}: ${issue.message}`);
}

function refuseFamily(modelType: unknown, source: string): void {
  if (!families.some((family) => family === modelType)) {
    throw new ConfigError(
      `${source}: model_type ${JSON.stringify(modelType)} is not supported ` +
        `(supported: ${families.join(", ")})`,
    );
  }
}

/** Refuses by name what would otherwise be computed wrongly. */
function refuseUnsupported(raw: RawConfig, refuse: Refuse): void {
  if (raw.attention_bias) refuse("attention_bias", true, "projections have no bias here");
  if ((raw.hidden_act ?? "silu") !== "silu") refuse("hidden_act", raw.hidden_act, "only silu");
  if (raw.tie_word_embeddings)
    refuse("tie_word_embeddings", true, "the head is a weight of its own");
  if (raw.qk_rope_head_dim % 2) refuse("qk_rope_head_dim", raw.qk_rope_head_dim, "must be even");
  if ([raw.moe_layer_freq ?? 1].flat().some((f) => f !== 1 && f !== 0)) {
    refuse("moe_layer_freq", raw.moe_layer_freq, "every layer after the dense ones is routed");
  }
  if ("llama_4_scaling" in raw) refuse("llama_4_scaling", raw["llama_4_scaling"], "unknown");
}

function gateRule(raw: RawConfig, source: string): GateRule {
  const second = raw.model_type === "deepseek_v2";
  const method = raw.topk_method ?? (second ? "greedy" : "noaux_tc");
  const scoring = raw.scoring_func ?? (second ? "softmax" : "sigmoid");
  if (method !== "noaux_tc" && method !== "group_limited_greedy" && method !== "greedy") {
    throw new ConfigError(`${source}: topk_method ${JSON.stringify(method)} is not supported`);
  }
  if (scoring !== "sigmoid" && scoring !== "softmax") {
    throw new ConfigError(`${source}: scoring_func ${JSON.stringify(scoring)} is not supported`);
  }
  const experts = raw.n_routed_experts;
  const topK = raw.num_experts_per_tok;
  const grouped = method !== "greedy";
  const groups = grouped ? (raw.n_group ?? 1) : 1;
  const topGroups = grouped ? (raw.topk_group ?? 1) : 1;
  const wrong = (text: string) => new ConfigError(`${source}: ${text}`);
  if (experts % groups)
    throw wrong(`n_group ${groups} does not divide n_routed_experts ${experts}`);
  if (topGroups > groups) throw wrong(`topk_group ${topGroups} is more than n_group ${groups}`);
  if (method === "noaux_tc" && experts / groups < 2) {
    throw wrong(`n_group ${groups} leaves fewer than two experts in a group`);
  }
  if (topK > (topGroups * experts) / groups) {
    throw wrong(`num_experts_per_tok ${topK} is more than the experts of topk_group ${topGroups}`);
  }
  const normalise = raw.norm_topk_prob ?? !second;
  if (second && normalise) throw wrong("norm_topk_prob true is not supported for deepseek_v2");
  return {
    experts,
    topK,
    scoring,
    method,
    groups,
    topGroups,
    normalise,
    scale: raw.routed_scaling_factor ?? 1,
  };
}

function firstDense(raw: RawConfig, source: string): number {
  const types = raw.mlp_layer_types;
  if (!types) return Math.min(raw.first_k_dense_replace ?? 0, raw.num_hidden_layers);
  const dense = types.findIndex((type) => type !== "dense");
  const first = dense < 0 ? types.length : dense;
  if (types.length !== raw.num_hidden_layers || types.slice(first).includes("dense")) {
    throw new ConfigError(
      `${source}: mlp_layer_types must be dense layers followed by sparse ones`,
    );
  }
  return first;
}

function ropeConfig(raw: RawConfig, source: string): ModelConfig["rope"] {
  const field = raw.rope_parameters ? "rope_parameters" : "rope_scaling";
  const parameters = raw.rope_parameters ?? raw.rope_scaling;
  const theta = parameters?.rope_theta ?? raw.rope_theta;
  if (!theta) throw new ConfigError(`${source}: rope_theta is missing`);
  const type = parameters?.rope_type ?? parameters?.type ?? "default";
  const interleaved = raw.rope_interleave ?? true;
  if (type === "default") return { theta, scaling: undefined, interleaved };
  if (type !== "yarn") {
    throw new ConfigError(`${source}: ${field}.type ${JSON.stringify(type)} is not supported`);
  }
  const { factor, original_max_position_embeddings: originalLength } = parameters ?? {};
  if (!factor) throw new ConfigError(`${source}: ${field}.factor is missing`);
  if (!originalLength) {
    throw new ConfigError(`${source}: ${field}.original_max_position_embeddings is missing`);
  }
  return {
    theta,
    interleaved,
    scaling: {
      factor,
      originalLength,
      betaFast: parameters?.beta_fast ?? 32,
      betaSlow: parameters?.beta_slow ?? 1,
      mscale: parameters?.mscale,
      mscaleAllDim: parameters?.mscale_all_dim,
    },
  };
}
