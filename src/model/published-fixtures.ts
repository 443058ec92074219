/** Folders as families publish them: configs, names, dtypes and shapes; files of weights are all holes. */
import { cp, mkdir, open, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { codeBytes, type WeightDtype } from "../kernels/index.ts";
import { fixtureDirectory } from "./fixtures.ts";
import { byteAlphabet } from "./text/byte-pair-encoding.ts";
import { writeTinyTokenizer } from "./text/tokenizer-fixtures.ts";

export interface PublishedFamily {
  readonly name: string;
  /** One dense layer and one with experts: those of a kind are alike. */
  readonly config: Record<string, unknown>;
  readonly tokenizer: "json" | "json without bytes that UTF-8 lacks" | "tiktoken";
  readonly template: boolean;
  readonly weights: "BF16" | "F8_E4M3" | "INT4 experts";
  readonly biasDtype?: "F32" | "BF16";
}

const yarn = {
  ...{ type: "yarn", factor: 40, original_max_position_embeddings: 4096 },
  ...{ beta_fast: 32, beta_slow: 1, mscale: 1, mscale_all_dim: 1 },
};
const fp8 = {
  ...{ activation_scheme: "dynamic", fmt: "e4m3", quant_method: "fp8" },
  weight_block_size: [128, 128],
};
const training = {
  ...{ aux_loss_alpha: 0.001, seq_aux: true, ep_size: 1, pretraining_tp: 1, use_cache: true },
  ...{ initializer_range: 0.02, attention_dropout: 0, transformers_version: "4.46.3" },
};

const v3 = {
  ...training,
  ...{ model_type: "deepseek_v3", architectures: ["DeepseekV3ForCausalLM"], vocab_size: 129280 },
  ...{ hidden_size: 7168, intermediate_size: 18432, moe_intermediate_size: 2048 },
  ...{ num_hidden_layers: 2, first_k_dense_replace: 1, moe_layer_freq: 1 },
  ...{ num_attention_heads: 128, num_key_value_heads: 128, q_lora_rank: 1536, kv_lora_rank: 512 },
  ...{ qk_nope_head_dim: 128, qk_rope_head_dim: 64, v_head_dim: 128, n_routed_experts: 256 },
  ...{ n_shared_experts: 1, num_experts_per_tok: 8, n_group: 8, topk_group: 4 },
  ...{ topk_method: "noaux_tc", scoring_func: "sigmoid", norm_topk_prob: true },
  ...{ routed_scaling_factor: 2.5, rms_norm_eps: 1e-6, rope_theta: 10000, rope_scaling: yarn },
  ...{ max_position_embeddings: 163840, bos_token_id: 0, eos_token_id: 1 },
  ...{ num_nextn_predict_layers: 1, attention_bias: false, hidden_act: "silu" },
  ...{ tie_word_embeddings: false, torch_dtype: "bfloat16", quantization_config: fp8 },
};
const indexer = { index_n_heads: 64, index_head_dim: 128, index_topk: 2048 };
const bf16 = { quantization_config: undefined };

// oxlint-disable-next-line oxc/approx-constant -- DeepSeek's own number
const mscale = 0.707;
const v2 = {
  ...{ ...v3, ...bf16, model_type: "deepseek_v2", vocab_size: 102400, hidden_size: 5120 },
  ...{ intermediate_size: 12288, moe_intermediate_size: 1536, n_routed_experts: 160 },
  ...{ n_shared_experts: 2, num_experts_per_tok: 6, topk_group: 3, num_nextn_predict_layers: 0 },
  ...{ topk_method: "group_limited_greedy", scoring_func: "softmax", norm_topk_prob: false },
  ...{ routed_scaling_factor: 16, rope_scaling: { ...yarn, mscale, mscale_all_dim: mscale } },
  ...{ bos_token_id: 100000, eos_token_id: 100001 },
};
const small = {
  ...{ hidden_size: 2048, moe_intermediate_size: 1408, n_routed_experts: 64, n_group: 1 },
  ...{ num_attention_heads: 16, num_key_value_heads: 16, q_lora_rank: null, topk_group: 1 },
};
const moonlight = {
  ...{ ...v3, ...small, ...bf16, vocab_size: 163840, intermediate_size: 11264, rope_scaling: null },
  ...{ n_shared_experts: 2, num_experts_per_tok: 6, routed_scaling_factor: 2.446 },
  ...{ rms_norm_eps: 1e-5, rope_theta: 50000, max_position_embeddings: 8192 },
  ...{ bos_token_id: 163584, eos_token_id: 163586, num_nextn_predict_layers: 0 },
};
const k2 = {
  ...{ ...v3, model_type: "kimi_k2", vocab_size: 163840, num_attention_heads: 64, n_group: 1 },
  ...{
    num_key_value_heads: 64,
    n_routed_experts: 384,
    topk_group: 1,
    routed_scaling_factor: 2.827,
  },
  ...{ rope_theta: 50000, rope_scaling: { ...yarn, factor: 32, beta_fast: 1 } },
  ...{ max_position_embeddings: 131072, bos_token_id: 163584, eos_token_id: 163585 },
  num_nextn_predict_layers: 0,
};
const int4 = {
  ...{ quant_method: "compressed-tensors", format: "pack-quantized", kv_cache_scheme: null },
  ...{ quantization_status: "compressed", ignore: ["lm_head", "re:.*self_attn.*"] },
  config_groups: {
    group_0: {
      ...{ targets: ["Linear"], input_activations: null, output_activations: null },
      weights: {
        ...{ num_bits: 4, type: "int", symmetric: true, strategy: "group", group_size: 32 },
        ...{ dynamic: false, actorder: null, observer: "minmax", observer_kwargs: {} },
        block_structure: null,
      },
    },
  },
};
const glm = {
  ...{ ...v3, ...bf16, vocab_size: 154880, qk_nope_head_dim: 192, v_head_dim: 256 },
  ...{ n_group: 1, topk_group: 1, rms_norm_eps: 1e-5, max_position_embeddings: 202752 },
  ...{ bos_token_id: undefined, eos_token_id: [154820, 154827, 154829], pad_token_id: 154820 },
};
const glm5 = {
  ...{ ...glm, ...indexer, model_type: "glm_moe_dsa", architectures: ["GlmMoeDsaForCausalLM"] },
  ...{ hidden_size: 6144, intermediate_size: 12288, num_attention_heads: 64, q_lora_rank: 2048 },
  ...{ index_n_heads: 32, indexer_rope_interleave: true, rope_interleave: true, head_dim: 64 },
  ...{ qk_head_dim: 256, num_key_value_heads: 64, rope_theta: undefined, rope_scaling: undefined },
  ...{ rope_parameters: { rope_theta: 1e6, rope_type: "default" }, dtype: "bfloat16" },
};
const flash = {
  ...{ ...glm, ...small, model_type: "glm4_moe_lite", intermediate_size: 10240, q_lora_rank: 768 },
  ...{
    architectures: ["Glm4MoeLiteForCausalLM"],
    num_attention_heads: 20,
    num_key_value_heads: 20,
  },
  ...{ moe_intermediate_size: 1536, num_experts_per_tok: 4, routed_scaling_factor: 1.8 },
  ...{ rope_theta: 1e6, rope_scaling: null, partial_rotary_factor: 1 },
};
const gigachat = {
  ...{ ...v3, ...small, vocab_size: 128256, hidden_size: 1536, intermediate_size: 8960 },
  ...{ moe_intermediate_size: 1280, num_attention_heads: 32, num_key_value_heads: 32 },
  ...{ v_head_dim: 192, num_experts_per_tok: 4, head_dim: 64, qk_head_dim: 192 },
  ...{ rope_interleave: true, bos_token_id: 1, eos_token_id: 2, max_position_embeddings: 262144 },
};
const k25 = {
  ...{ model_type: "kimi_k25", architectures: ["KimiK25ForConditionalGeneration"] },
  ...{ vision_config: { patch_size: 14 }, media_placeholder_token_id: 163605 },
  ...{ bos_token_id: 163584, eos_token_id: 163585, tie_word_embeddings: false },
  text_config: { ...k2, quantization_config: int4, _name_or_path: "", is_decoder: false },
};
const published = { tokenizer: "json", template: true, weights: "BF16" } as const;

/** In the order of the README's table. */
export const publishedFamilies: readonly PublishedFamily[] = [
  { ...published, name: "DeepSeek-V3, R1", config: v3, weights: "F8_E4M3" },
  { ...published, name: "DeepSeek-V3-Base", config: v3, template: false, weights: "F8_E4M3" },
  {
    ...{ ...published, name: "DeepSeek-V3.1", weights: "F8_E4M3" },
    config: { ...v3, quantization_config: { ...fp8, scale_fmt: "ue8m0" } },
  },
  {
    ...{ ...published, name: "DeepSeek-V3.2", weights: "F8_E4M3", template: false },
    config: { ...v3, ...indexer, model_type: "deepseek_v32" },
  },
  {
    ...{ ...published, name: "DeepSeek-V2, V2.5", config: v2 },
    tokenizer: "json without bytes that UTF-8 lacks",
  },
  {
    ...{ ...published, name: "DeepSeek-V2-Lite, Coder-V2-Lite" },
    config: { ...v2, ...small, intermediate_size: 10944, topk_method: "greedy" },
    tokenizer: "json without bytes that UTF-8 lacks",
  },
  {
    ...{ ...published, name: "Moonlight-16B-A3B", config: moonlight, biasDtype: "BF16" },
    tokenizer: "tiktoken",
  },
  { ...published, name: "Kimi-K2", config: k2, tokenizer: "tiktoken", weights: "F8_E4M3" },
  {
    ...{ ...published, name: "Kimi-K2-Thinking", tokenizer: "tiktoken", weights: "INT4 experts" },
    config: { ...k2, quantization_config: int4 },
  },
  {
    ...{ ...published, name: "Kimi-K2.5, K2.6", config: k25, tokenizer: "tiktoken" },
    weights: "INT4 experts",
  },
  { ...published, name: "GLM-4.7-Flash", config: flash },
  { ...published, name: "GLM-5", config: glm5 },
  { ...published, name: "GigaChat3-10B-A1.8B", config: gigachat, weights: "F8_E4M3" },
  {
    ...{ ...published, name: "GigaChat3-10B-A1.8B-bf16" },
    config: { ...gigachat, ...bf16 },
  },
];

/** Writes a family's folder: `directory` is made. */
export async function writePublished(directory: string, family: PublishedFamily): Promise<void> {
  await mkdir(directory);
  await writeFile(join(directory, "config.json"), JSON.stringify(family.config));
  await writeTokenizer(directory, family);
  await writeHoles(join(directory, "model.safetensors"), tensorsOf(family));
}

async function writeTokenizer(directory: string, { tokenizer, template }: PublishedFamily) {
  await writeTinyTokenizer(directory);
  const [file, configFile] = ["tokenizer.json", "tokenizer_config.json"].map((name) =>
    join(directory, name),
  );
  const config = JSON.parse(await readFile(configFile, "utf8")) as { chat_template: string };
  if (tokenizer === "tiktoken") {
    await rm(file);
    await cp(fixtureDirectory("kimi-tokenizer") ?? "", directory, { recursive: true });
    await writeFile(join(directory, "chat_template.jinja"), config.chat_template);
    return;
  }
  if (tokenizer !== "json") {
    const json = JSON.parse(await readFile(file, "utf8")) as { model: { vocab: object } };
    const lacking = [0xc0, 0xc1, ...Array.from({ length: 11 }, (_, i) => 0xf5 + i)];
    const characters = new Set(lacking.map((byte) => byteAlphabet[byte]));
    const kept = Object.entries(json.model.vocab).filter(([token]) => !characters.has(token));
    json.model.vocab = Object.fromEntries(kept);
    await writeFile(file, JSON.stringify(json));
  }
  const without = JSON.stringify({ ...config, chat_template: undefined });
  if (!template) await writeFile(configFile, without);
}

type Tensors = Map<string, readonly [dtype: string, shape: readonly number[], bytes: number]>;

/** The hub's names, as DeepSeek's README_WEIGHTS.md and the families' indices have them. */
function tensorsOf(family: PublishedFamily): Tensors {
  const { text_config } = family.config as { text_config?: object };
  const list = new TensorList(family, (text_config ?? family.config) as Record<string, number>);
  list.addModel();
  if (!text_config) return list.tensors;
  const prefixed = [...list.tensors].map(([name, tensor]) => {
    return [`language_model.${name}`, tensor] as const;
  });
  return new Map([...prefixed, ["vision_tower.patch_embed.proj.bias", ["BF16", [1152], 2304]]]);
}

class TensorList {
  readonly tensors: Tensors = new Map();
  readonly #family: PublishedFamily;
  readonly #c: Readonly<Record<string, number>>;

  constructor(family: PublishedFamily, config: Readonly<Record<string, number>>) {
    this.#family = family;
    this.#c = config;
  }

  addModel(): void {
    const { vocab_size, hidden_size, num_hidden_layers, num_nextn_predict_layers } = this.#c;
    this.#plain("model.embed_tokens", vocab_size, hidden_size);
    for (let i = 0; i < num_hidden_layers + num_nextn_predict_layers; i++) {
      const at = `model.layers.${i}`;
      this.#layer(at, i);
      if (i >= num_hidden_layers) this.#drafts(at);
    }
    this.#plain("model.norm", hidden_size);
    this.#plain("lm_head", vocab_size, hidden_size);
  }

  #layer(at: string, i: number): void {
    const { hidden_size, first_k_dense_replace, intermediate_size } = this.#c;
    this.#plain(`${at}.input_layernorm`, hidden_size);
    this.#attention(`${at}.self_attn`);
    this.#plain(`${at}.post_attention_layernorm`, hidden_size);
    if (i < first_k_dense_replace) this.#mlp(`${at}.mlp`, intermediate_size);
    else this.#experts(`${at}.mlp`);
  }

  #attention(at: string): void {
    const { hidden_size, num_attention_heads: heads, q_lora_rank, kv_lora_rank } = this.#c;
    const { qk_nope_head_dim: nope, qk_rope_head_dim: rope, v_head_dim, index_topk } = this.#c;
    if (q_lora_rank) {
      this.#linear(`${at}.q_a_proj`, q_lora_rank, hidden_size);
      this.#plain(`${at}.q_a_layernorm`, q_lora_rank);
      this.#linear(`${at}.q_b_proj`, heads * (nope + rope), q_lora_rank);
    } else this.#linear(`${at}.q_proj`, heads * (nope + rope), hidden_size);
    this.#linear(`${at}.kv_a_proj_with_mqa`, kv_lora_rank + rope, hidden_size);
    this.#plain(`${at}.kv_a_layernorm`, kv_lora_rank);
    this.#linear(`${at}.kv_b_proj`, heads * (nope + v_head_dim), kv_lora_rank);
    this.#linear(`${at}.o_proj`, hidden_size, heads * v_head_dim);
    if (index_topk) this.#indexer(`${at}.indexer`);
  }

  #indexer(at: string): void {
    const { hidden_size, q_lora_rank, index_n_heads, index_head_dim } = this.#c;
    this.#linear(`${at}.wq_b`, index_n_heads * index_head_dim, q_lora_rank);
    this.#linear(`${at}.wk`, index_head_dim, hidden_size);
    this.#plain(`${at}.k_norm`, index_head_dim);
    this.#add(`${at}.k_norm.bias`, "BF16", [index_head_dim]);
    this.#plain(`${at}.weights_proj`, index_n_heads, hidden_size);
  }

  #experts(at: string): void {
    const { hidden_size, n_routed_experts, n_shared_experts, moe_intermediate_size } = this.#c;
    this.#plain(`${at}.gate`, n_routed_experts, hidden_size);
    if (String(this.#c["topk_method"]) === "noaux_tc") {
      const { biasDtype = "F32" } = this.#family;
      this.#add(`${at}.gate.e_score_correction_bias`, biasDtype, [n_routed_experts]);
    }
    for (let e = 0; e < n_routed_experts; e++) {
      this.#mlp(`${at}.experts.${e}`, moe_intermediate_size);
    }
    this.#mlp(`${at}.shared_experts`, n_shared_experts * moe_intermediate_size);
  }

  /** What an MTP layer has besides. */
  #drafts(at: string): void {
    const { vocab_size, hidden_size } = this.#c;
    for (const name of ["enorm", "hnorm", "shared_head.norm"]) {
      this.#plain(`${at}.${name}`, hidden_size);
    }
    this.#plain(`${at}.eh_proj`, hidden_size, 2 * hidden_size);
    this.#plain(`${at}.embed_tokens`, vocab_size, hidden_size);
    this.#plain(`${at}.shared_head.head`, vocab_size, hidden_size);
  }

  #mlp(at: string, width: number): void {
    const { hidden_size } = this.#c;
    this.#linear(`${at}.gate_proj`, width, hidden_size);
    this.#linear(`${at}.up_proj`, width, hidden_size);
    this.#linear(`${at}.down_proj`, hidden_size, width);
  }

  #linear(name: string, rows: number, columns: number): void {
    const { weights } = this.#family;
    if (weights === "F8_E4M3") {
      this.#add(`${name}.weight`, "F8_E4M3", [rows, columns]);
      const blocks = [rows, columns].map((side) => Math.ceil(side / 128));
      this.#add(`${name}.weight_scale_inv`, "F32", blocks);
    } else if (weights === "INT4 experts" && name.includes(".experts.")) {
      this.#add(`${name}.weight_packed`, "I32", [rows, columns / 8], (rows * columns) / 2);
      this.#add(`${name}.weight_scale`, "BF16", [rows, columns / 32]);
      this.#add(`${name}.weight_shape`, "I32", [2], 8);
    } else this.#plain(name, rows, columns);
  }

  #plain(name: string, ...shape: number[]): void {
    this.#add(`${name}.weight`, "BF16", shape);
  }

  #add(name: string, dtype: string, shape: readonly number[], bytes?: number): void {
    this.tensors.set(name, [dtype, shape, bytes ?? codeBytes(dtype as WeightDtype, shape)]);
  }
}

/** A safetensors file whose header is all there is of it on the disk. */
async function writeHoles(path: string, tensors: Tensors): Promise<void> {
  let end = 0;
  const header = Object.fromEntries(
    [...tensors].map(([name, [dtype, shape, bytes]]) => {
      const start = end;
      end += bytes;
      return [name, { dtype, shape, data_offsets: [start, end] }];
    }),
  );
  const text = Buffer.from(JSON.stringify(header));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(text.length));
  const file = await open(path, "w");
  try {
    await file.write(Buffer.concat([length, text]));
    await file.truncate(8 + text.length + end);
  } finally {
    await file.close();
  }
}
