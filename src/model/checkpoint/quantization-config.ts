import { z } from "zod";
import { SCALE_BLOCK, scaleFormats, type ScaleFormat } from "../../kernels/index.ts";

/** What config.json's `quantization_config` says of the numbers; what it leaves to tensors, they say. */
export interface Quantization {
  /** Of the activations that w8a8 quantises. */
  readonly scales: ScaleFormat;
}

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
  scale_fmt: z.enum(scaleFormats).exclude(["f32"]).nullish(),
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
const integers = z.strictObject({
  type: z.literal("int"),
  num_bits: z.union([z.literal(4), z.literal(8)]),
  symmetric: z.literal(true).optional(),
  strategy: z.enum(["group", "block", "channel"]),
  group_size: z.int().nullish(),
  block_structure: z.union([block, z.null()]).optional(),
  dynamic: z.literal(false).optional(),
  actorder: z.enum(["static", "weight"]).nullish(),
  observer: z.string().nullish(),
  observer_kwargs: z.record(z.string(), z.unknown()).nullish(),
  scale_dtype: z.string().nullish(),
  zp_dtype: z.string().nullish(),
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

const methods = { fp8, blockwise_int8: blockwiseInt8, w8a8_int8: channelInt8 } as const;
const schemas = { ...methods, "compressed-tensors": compressedTensors } as const;

/** Reads config.json's `quantization_config`; what it does not know, and would get wrong, it refuses. */
export function parseQuantization(json: unknown, refuse: Refuse): Quantization {
  if (json === undefined || json === null) return { scales: "f32" };
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
  return { scales: data.quant_method === "fp8" ? (data.scale_fmt ?? "f32") : "f32" };
}

function valueAt(json: unknown, path: readonly string[]): unknown {
  return path.reduce<unknown>((value, key) => (value as Record<string, unknown>)?.[key], json);
}
