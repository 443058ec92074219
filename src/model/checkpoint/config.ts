import { join } from "node:path";
import { z } from "zod";
import type { GateRule } from "../../kernels/index.ts";
import { parseModelJson, readIfThere } from "../model-file.ts";
import { endToken } from "../text/index.ts";
import { configSchema, ids, type RawConfig, refuseUnknown } from "./config-fields.ts";
import { wrongFolder } from "./model-folder.ts";
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
  /**
   * Tokens that sparse attention would read; undefined where attention is dense. As long as a context
   * is no longer, both are the same, and `maxPositions` allows no more.
   */
  readonly indexTopK: number | undefined;
  readonly bosToken: number | undefined;
  readonly eosTokens: readonly number[];
  readonly nextTokenLayers: number;
  readonly quantization: Quantization;
}

const LATENT_NORM_EPSILON = 1e-6;

/** Families whose attention reads the `index_topk` tokens that an indexer picks. */
const sparseFamilies = ["deepseek_v32", "glm_moe_dsa"];
const families = ["deepseek_v3", "kimi_k2", "deepseek_v2", "glm4_moe_lite", ...sparseFamilies];

/** Families whose language model is one of those, in `text_config`; images are not served. */
const multimodalFamilies = ["kimi_k25", "kimi_vl"];

/** Of the sparse families, where config.json does not say. */
const INDEX_TOPK = 2048;

/** Reads config.json, and generation_config.json where there is one, of a checkpoint directory. */
export async function readConfig(directory: string): Promise<ModelConfig> {
  const file = join(directory, "config.json");
  const bytes = await readIfThere(file);
  if (!bytes) throw new ConfigError(await wrongFolder(directory));
  const config = parseConfig(parseModelJson(bytes, file), file);
  const generationFile = join(directory, "generation_config.json");
  const generation = await readIfThere(generationFile);
  const parsed = z
    .looseObject({ eos_token_id: ids })
    .safeParse(generation ? parseModelJson(generation, generationFile) : {});
  if (!parsed.success) throw describeIssue(parsed.error, generationFile);
  const stops = [...config.eosTokens, ...listOf(parsed.data.eos_token_id)];
  const eosTokens = stops.length > 0 ? stops : listOf(await endToken(directory));
  return { ...config, eosTokens: [...new Set(eosTokens)] };
}

/** Normalises a parsed config.json; `source` names it in errors. */
export function parseConfig(json: unknown, source: string): ModelConfig {
  const refuse: Refuse = (field, value, why) => {
    throw new ConfigError(`${source}: ${field} ${JSON.stringify(value)} is not supported: ${why}`);
  };
  const config = languageConfig(json, refuse);
  const parsed = configSchema.safeParse(config);
  if (!parsed.success) {
    refuseFamily((config as { model_type?: unknown } | null)?.model_type, source);
    throw describeIssue(parsed.error, source);
  }
  const raw = parsed.data;
  refuseFamily(raw.model_type, source);
  refuseMlx(raw, refuse);
  const isSparse = sparseFamilies.includes(raw.model_type);
  const indexTopK = raw.index_topk ?? (isSparse ? INDEX_TOPK : undefined);
  if (raw.qk_rope_head_dim % 2) refuse("qk_rope_head_dim", raw.qk_rope_head_dim, "must be even");
  refuseUnknown(raw, refuse);
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
    maxPositions: Math.min(raw.max_position_embeddings, indexTopK ?? Infinity),
    indexTopK,
    bosToken: raw.bos_token_id ?? undefined,
    eosTokens: listOf(raw.eos_token_id),
    nextTokenLayers: raw.num_nextn_predict_layers ?? 0,
    quantization: parseQuantization(raw.quantization_config, refuse),
  };
}

/** What of config.json ends a model's context. */
export function contextLimit({ indexTopK, maxPositions }: ModelConfig): string {
  return indexTopK === maxPositions
    ? `index_topk ${indexTopK}, beyond which attention would have to be sparse`
    : `max_position_embeddings ${maxPositions}`;
}

/** The language model's part of a config: all of it, or `text_config`. */
function languageConfig(json: unknown, refuse: Refuse): unknown {
  if (json === null || typeof json !== "object" || !("text_config" in json)) return json;
  const { model_type, text_config, ...outer } = json as Record<string, unknown>;
  if (!multimodalFamilies.some((family) => family === model_type)) {
    refuse(
      "text_config",
      Object.keys(text_config ?? {}),
      `only of ${multimodalFamilies.join(", ")}`,
    );
  }
  const shared = ["bos_token_id", "eos_token_id", "tie_word_embeddings", "quantization_config"];
  const inherited = shared.filter((field) => outer[field] !== undefined && outer[field] !== null);
  return {
    ...(text_config as object),
    ...Object.fromEntries(inherited.map((field) => [field, outer[field]])),
  };
}

/** MLX's own quantisation has a field of its own, and packs codes as nobody else does. */
function refuseMlx(raw: RawConfig, refuse: Refuse): void {
  const { quantization } = raw;
  if (quantization) refuse("quantization", quantization, "MLX quantised it; take the original");
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
