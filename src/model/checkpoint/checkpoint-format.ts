import {
  SCALE_BLOCK,
  weightFormats,
  type ScaleFormat,
  type WeightDtype,
} from "../../kernels/index.ts";

/** How a checkpoint may keep its linear weights. */
export const checkpointFormats = ["fp8", "int8", "bf16"] as const;

export type CheckpointFormat = (typeof checkpointFormats)[number];

/** The layers' linear weights, which DeepSeek publishes in FP8; embedding, head and gate are others. */
const LAYER_LINEAR = /\.(self_attn|mlp)\..*_proj(_with_mqa)?\.weight$/;
/** Used absorbed, as two halves: W_UK is summed over its rows, so that a row's scale is in the sum. */
const ABSORBED = /\.kv_b_proj\.weight$/;
const HEAD = /^lm_head\.weight$/;

/** The dtype in which a format keeps a weight; undefined where it stays as it is. */
export function quantizedDtype(format: CheckpointFormat, name: string): WeightDtype | undefined {
  if (format === "fp8") return LAYER_LINEAR.test(name) ? "F8_E4M3" : undefined;
  if (format === "bf16" || ABSORBED.test(name)) return undefined;
  return LAYER_LINEAR.test(name) || HEAD.test(name) ? "I8" : undefined;
}

/** What config.json says of a format; undefined where nothing is quantised. */
export function quantizationConfig(format: CheckpointFormat, scales: ScaleFormat = "f32") {
  switch (format) {
    case "bf16":
      return undefined;
    case "fp8":
      return {
        activation_scheme: "dynamic",
        fmt: "e4m3",
        quant_method: "fp8",
        ...(scales === "f32" ? {} : { scale_fmt: scales }),
        weight_block_size: weightFormats.F8_E4M3.scaleBlocks[0],
      };
    case "int8":
      return {
        quant_method: "compressed-tensors",
        format: "int-quantized",
        quantization_status: "compressed",
        config_groups: { group_0: { targets: ["Linear"], ...integers } },
        ignore: ["re:.*kv_b_proj$", "re:.*mlp.gate$"],
      };
  }
}

const group = { type: "int", num_bits: 8, strategy: "group", group_size: SCALE_BLOCK };

const integers = {
  weights: { ...group, symmetric: true, dynamic: false },
  input_activations: { ...group, symmetric: true, dynamic: true },
};
