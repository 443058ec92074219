import {
  SCALE_BLOCK,
  weightFormats,
  type ScaleFormat,
  type QuantizedDtype,
} from "../../kernels/index.ts";

/** What a checkpoint can be quantised to. */
export const quantizedFormats = ["fp8", "int8", "int4"] as const;

/** How a checkpoint may keep its linear weights. */
export const checkpointFormats = [...quantizedFormats, "bf16"] as const;

export type CheckpointFormat = (typeof checkpointFormats)[number];

export type QuantizedFormat = (typeof quantizedFormats)[number];

/** The layers' linear weights, which DeepSeek publishes in FP8; embedding, head and gate are others. */
const LAYER_LINEAR = /\.(self_attn|mlp)\..*_proj(_with_mqa)?\.weight$/;
/** Used absorbed, as two halves: W_UK is summed over its rows, so that a row's scale is in the sum. */
const ABSORBED = /\.kv_b_proj\.weight$/;
const HEAD = /^lm_head\.weight$/;

/** The dtype in which a format keeps a weight; undefined where it stays as it is. */
export function quantizedDtype(format: CheckpointFormat, name: string): QuantizedDtype | undefined {
  if (format === "fp8") return LAYER_LINEAR.test(name) ? "F8_E4M3" : undefined;
  if (format === "bf16" || ABSORBED.test(name)) return undefined;
  if (HEAD.test(name)) return "I8";
  return LAYER_LINEAR.test(name) ? (format === "int4" ? "I4" : "I8") : undefined;
}

/** Inputs of INT4 weights that share a scale. */
export const int4Groups = weightFormats.I4.scaleBlocks.map(([, columns]) => columns);

/** What config.json says of a format; undefined where nothing is quantised. */
export function quantizationConfig(
  format: CheckpointFormat,
  { scales = "f32", group = int4Groups[0] }: { scales?: ScaleFormat; group?: number } = {},
) {
  if (format === "bf16") return undefined;
  if (format === "fp8") {
    return {
      activation_scheme: "dynamic",
      fmt: "e4m3",
      quant_method: "fp8",
      ...(scales === "f32" ? {} : { scale_fmt: scales }),
      weight_block_size: weightFormats.F8_E4M3.scaleBlocks[0],
    };
  }
  const eightBits = groupOf(8, SCALE_BLOCK, "int-quantized");
  const config_groups =
    format === "int8"
      ? { group_0: { targets: ["Linear"], ...eightBits } }
      : {
          group_0: { targets: ["Linear"], ...groupOf(4, group, "pack-quantized") },
          group_1: { targets: ["re:.*lm_head"], ...eightBits },
        };
  return {
    ...{ quant_method: "compressed-tensors", quantization_status: "compressed", config_groups },
    format: format === "int8" ? "int-quantized" : "mixed-precision",
    ignore: ["re:.*kv_b_proj$", "re:.*mlp.gate$"],
  };
}

/** Integers of so many bits, times INT8 activations. */
function groupOf(bits: number, group: number, format: string) {
  const integers = { type: "int", strategy: "group", symmetric: true };
  return {
    format,
    weights: { ...integers, num_bits: bits, group_size: group, dynamic: false },
    input_activations: { ...integers, num_bits: 8, group_size: SCALE_BLOCK, dynamic: true },
  };
}
