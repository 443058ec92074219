import { z } from "zod";
import { SCALE_BLOCK, type ScaleFormat } from "../../kernels/index.ts";

/** What config.json's `quantization_config` says of the numbers; what it leaves to tensors, they say. */
export interface Quantization {
  /** Of the activations that w8a8 quantises. */
  readonly scales: ScaleFormat;
  /** What GPTQ's zero points are above what is stored for them. */
  readonly zeroPointBias: number;
}

export const plainQuantization: Quantization = { scales: "f32", zeroPointBias: 0 };

/** A field that asks for something not implemented. */
export type Refuse = (field: string, value: unknown, why: string) => never;

const block = z.tuple([z.literal(SCALE_BLOCK), z.literal(SCALE_BLOCK)]);
const dynamic = z.literal("dynamic").optional();
/** Which layers are not quantised, their tensors say. */
const modules = z.array(z.string()).nullish();
/** There, and saying nothing. */
const nothing = z.union([z.null(), z.record(z.string(), z.never())]).optional();

const fp8 = z.strictObject({
  quant_method: z.literal("fp8"),
  fmt: z.literal("e4m3").optional(),
  activation_scheme: dynamic,
  weight_block_size: block,
  /** "float": as transformers 5 writes f32. */
  scale_fmt: z.enum(["ue8m0", "float"]).nullish(),
  dequantize: z.literal(false).optional(),
  modules_to_not_convert: modules,
  ignored_layers: modules,
});

const blockwiseInt8 = z.strictObject({
  quant_method: z.literal("blockwise_int8"),
  activation_scheme: dynamic,
  weight_block_size: block,
  modules_to_not_convert: modules,
  ignored_layers: modules,
});

const channelInt8 = z.strictObject({
  quant_method: z.literal("w8a8_int8"),
  activation_scheme: dynamic,
  is_dynamic: z.literal(true).optional(),
  ignore: modules,
  quant_description: z.record(z.string(), z.string()).optional(),
  packed_modules_mapping: z.record(z.string(), modules).optional(),
});

/** How values of one kind become integers; the scales' shape says how many share one. */
const integers = z
  .strictObject({
    type: z.literal("int"),
    num_bits: z.union([z.literal(4), z.literal(8)]),
    symmetric: z.boolean().optional(),
    strategy: z.enum(["group", "block", "channel"]),
    group_size: z.int().nullish(),
    block_structure: z.union([block, z.null()]).optional(),
    dynamic: z.literal(false).optional(),
    actorder: z.enum(["static", "weight"]).nullish(),
    observer: z.string().nullish(),
    observer_kwargs: z.record(z.string(), z.unknown()).nullish(),
    scale_dtype: z.string().nullish(),
    zp_dtype: z.string().nullish(),
  })
  .refine(({ num_bits, symmetric }) => num_bits === 4 || symmetric !== false, {
    ...{ path: ["symmetric"], error: "INT8 has no zero points here" },
  });

const compressedTensors = z.strictObject({
  quant_method: z.literal("compressed-tensors"),
  format: z.enum(["int-quantized", "pack-quantized", "mixed-precision"]),
  config_groups: z.record(
    z.string(),
    z.strictObject({
      targets: z.array(z.string()),
      weights: integers,
      // The policy rounds activations, with scales that are found as they come.
      input_activations: z.looseObject({ dynamic: z.literal(true) }).nullish(),
      output_activations: nothing,
      format: z.string().nullish(),
    }),
  ),
  ignore: modules,
  quantization_status: z.string().optional(),
  global_compression_ratio: z.number().nullish(),
  version: z.string().optional(),
  kv_cache_scheme: nothing,
  sparsity_config: nothing,
  transform_config: nothing,
});

const group = z.literal([32, 128]);
/** How the codes were found, not what they say. */
const origin = z.unknown().optional();

const gptq = z.strictObject({
  quant_method: z.literal("gptq"),
  bits: z.literal(4),
  group_size: group,
  desc_act: z.literal(false),
  sym: z.boolean().optional(),
  checkpoint_format: z.enum(["gptq", "gptq_v2"]).optional(),
  pack_dtype: z.literal("int32").optional(),
  dynamic: nothing,
  is_marlin_format: z.literal(false).optional(),
  modules_in_block_to_quantize: origin,
  modules_to_not_convert: modules,
  ...{ lm_head: origin, true_sequential: origin, static_groups: origin, damp_percent: origin },
  ...{ damp_auto_increment: origin, model_name_or_path: origin, model_file_base_name: origin },
  ...{ meta: origin, quantizer: origin, dataset: origin, tokenizer: origin, mse: origin },
  ...{ block_name_to_quantize: origin, module_name_preceding_first_block: origin },
  ...{ cache_block_outputs: origin, batch_size: origin, pad_token_id: origin, version: origin },
  ...{ use_cuda_fp16: origin, model_seqlen: origin, max_input_length: origin, use_exllama: origin },
  ...{ exllama_config: origin, disable_exllama: origin, backend: origin },
});

const awq = z
  .strictObject({
    quant_method: z.literal("awq"),
    bits: z.literal(4).optional(),
    w_bit: z.literal(4).optional(),
    group_size: group.optional(),
    q_group_size: group.optional(),
    zero_point: z.boolean(),
    version: z.string().toLowerCase().pipe(z.literal("gemm")).optional(),
    modules_to_not_convert: modules,
    ...{ backend: origin, do_fuse: z.literal(false).optional(), exllama_config: origin },
    ...{ fuse_max_seq_len: origin, modules_to_fuse: nothing },
  })
  .refine(({ bits, w_bit }) => (bits ?? w_bit) === 4, { path: ["bits"], error: "expected 4" });

const schemas = {
  ...{ fp8, blockwise_int8: blockwiseInt8, w8a8_int8: channelInt8, gptq, awq },
  "compressed-tensors": compressedTensors,
} as const;

/** Reads config.json's `quantization_config`; what it does not know, and would get wrong, it refuses. */
export function parseQuantization(json: unknown, refuse: Refuse): Quantization {
  if (json === undefined || json === null) return plainQuantization;
  const root = "quantization_config";
  const method = (json as { quant_method?: unknown }).quant_method;
  if (typeof method !== "string" || !Object.hasOwn(schemas, method)) {
    const known = Object.keys(schemas).join(", ");
    return refuse(`${root}.quant_method`, method, `only ${known}`);
  }
  const parsed = schemas[method as keyof typeof schemas].safeParse(json);
  if (!parsed.success) {
    const [issue] = parsed.error.issues;
    const unknown = issue.code === "unrecognized_keys" ? issue.keys.slice(0, 1) : [];
    const path = [...issue.path, ...unknown].map(String);
    return refuse([root, ...path].join("."), valueAt(json, path), issue.message);
  }
  const { data } = parsed;
  if (data.quant_method === "fp8") {
    return { ...plainQuantization, scales: data.scale_fmt === "ue8m0" ? "ue8m0" : "f32" };
  }
  const isFirstGptq = data.quant_method === "gptq" && data.checkpoint_format !== "gptq_v2";
  return { ...plainQuantization, zeroPointBias: isFirstGptq ? 1 : 0 };
}

function valueAt(json: unknown, path: readonly string[]): unknown {
  return path.reduce<unknown>((value, key) => (value as Record<string, unknown>)?.[key], json);
}
