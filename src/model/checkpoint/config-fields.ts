/** config.json's fields: those in use, those that change nothing, and what the others may say. */
import { z } from "zod";
import type { Refuse } from "./quantization-config.ts";

const size = z
  .int()
  .positive()
  .max(2 ** 31 - 1);
const count = z
  .int()
  .nonnegative()
  .max(2 ** 31 - 1);
export const ids = z.union([count, z.array(count)]).nullish();

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

export const configSchema = z.looseObject({
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
  rms_norm_eps: z.number().positive(),
  rope_theta: z.number().positive().nullish(),
  rope_scaling: ropeSchema.nullish(),
  rope_parameters: ropeSchema.nullish(),
  rope_interleave: z.boolean().nullish(),
  max_position_embeddings: size,
  bos_token_id: count.nullish(),
  eos_token_id: ids,
  num_nextn_predict_layers: count.nullish(),
  index_topk: size.nullish(),
  quantization_config: z.record(z.string(), z.unknown()).nullish(),
});

export type RawConfig = z.infer<typeof configSchema>;

/** Of what the graph does not compute: the values that ask for nothing. None of them may be anything else. */
const neutral: Readonly<Record<string, readonly unknown[]>> = {
  hidden_act: ["silu"],
  ...{ attention_bias: [false], mlp_bias: [false], use_bias: [false] },
  ...{ tie_word_embeddings: [false], lm_head: [true], rm_head: [false] },
  ...{ use_mla: [true], use_qk_norm: [false], qk_layernorm: [false], mla_use_nope: [false] },
  /** 0: not routed, which the dense layers say. */
  moe_layer_freq: [0, 1],
  ...{ moe_router_dtype: ["float32"], use_grouped_topk: [true] },
  layer_types: ["full_attention", "indexed_attention"],
  ...{ use_sliding_window: [false], sliding_window: [], swiglu_limit: [] },
  ...{ partial_rotary_factor: [1], attention_factor: [], truncate: [true] },
  llama_4_scaling: [],
};

/** What only training, other software or a reader of the file asks for, and sizes that tensors' shapes say. */
const harmless: ReadonlySet<string> = new Set(
  `architectures auto_map transformers_version torch_dtype dtype name_or_path
  head_dim qk_head_dim num_key_value_heads num_local_experts num_experts max_window_layers
  model_max_length pad_token_id sep_token_id unk_token_id decoder_start_token_id tokenizer_class
  attention_dropout hidden_dropout embd_pdrop resid_pdrop initializer_range init_method_std
  aux_loss_alpha aux_loss_coef router_aux_loss_coef router_z_loss_coef output_router_logits seq_aux
  router_jitter_noise moe_shared_expert_overlap ep_size pretraining_tp use_cache attn_implementation
  index_head_dim index_n_heads index_topk_freq index_topk_pattern index_skip_topk_offset
  index_share_for_mtp_iteration indexer_types indexer_rope_interleave mtp_loss_weight
  return_dict return_dict_in_generate output_hidden_states output_attentions output_scores torchscript
  use_bfloat16 tf_legacy_loss pruned_heads chunk_size_feed_forward is_encoder_decoder is_decoder
  add_cross_attention cross_attention_hidden_size tie_encoder_decoder finetuning_task id2label label2id
  task_specific_params problem_type prefix do_sample temperature top_k top_p typical_p max_length
  min_length early_stopping num_beams num_beam_groups diversity_penalty repetition_penalty
  length_penalty no_repeat_ngram_size encoder_no_repeat_ngram_size bad_words_ids num_return_sequences
  forced_bos_token_id forced_eos_token_id remove_invalid_values exponential_decay_length_penalty
  suppress_tokens begin_suppress_tokens`.split(/\s+/),
);

const HARMLESS_PREFIX = /^(_|unsloth_)/;

/**
 * Refuses by name what the graph does not compute, and what nobody here has heard of: it might change
 * a number. An absent field and null say the same.
 */
export function refuseUnknown(raw: RawConfig, refuse: Refuse): void {
  refuseOthers(raw, Object.keys(configSchema.shape), refuse);
  for (const name of ["rope_scaling", "rope_parameters"] as const) {
    const under: Refuse = (field, value, why) => refuse(`${name}.${field}`, value, why);
    refuseOthers(raw[name] ?? {}, Object.keys(ropeSchema.shape), under);
  }
}

function refuseOthers(fields: object, used: readonly string[], refuse: Refuse): void {
  for (const [field, value] of Object.entries(fields) as [string, unknown][]) {
    if (value === null || value === undefined || used.includes(field)) continue;
    if (Object.hasOwn(neutral, field)) {
      const allowed = neutral[field];
      if ([value].flat().every((each) => allowed.includes(each))) continue;
      const only = allowed.map((each) => JSON.stringify(each)).join(" or ");
      refuse(field, value, only ? `only ${only}` : "it is not computed here");
    }
    if (harmless.has(field) || HARMLESS_PREFIX.test(field)) continue;
    refuse(field, value, "the field is not known here, and might change what is computed");
  }
}
