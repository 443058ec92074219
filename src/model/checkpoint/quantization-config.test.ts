import assert from "node:assert/strict";
import { test } from "node:test";
import { checkpointFormats, quantizationConfig } from "./checkpoint-format.ts";
import { parseQuantization } from "./quantization-config.ts";

function parse(json: unknown) {
  return parseQuantization(json, (field, value, why) => {
    throw new Error(`${field} ${JSON.stringify(value)}: ${why}`);
  });
}

const plain = { scales: "f32", zeroPointBias: 0 };
const blocks = { weight_block_size: [128, 128] };
const fp8 = { quant_method: "fp8", ...blocks };
const weights = { num_bits: 8, type: "int", strategy: "channel", symmetric: true, dynamic: false };
const group = {
  ...{ targets: ["Linear"], weights, output_activations: null },
  input_activations: { num_bits: 8, type: "int", strategy: "token", dynamic: true },
};
const w8a8 = {
  ...{ quant_method: "compressed-tensors", format: "int-quantized", kv_cache_scheme: null },
  ...{ config_groups: { group_0: group }, ignore: ["lm_head"], sparsity_config: {} },
};
/** `w8a8` whose weights are other ones. */
const withWeights = (change: object) => ({
  ...w8a8,
  config_groups: { group_0: { ...group, weights: { ...weights, ...change } } },
});

test("published INT8 checkpoints' configs are read, and our own", () => {
  const published = [
    { quant_method: "blockwise_int8", activation_scheme: "dynamic", ...blocks },
    { quant_method: "w8a8_int8", is_dynamic: true, ignore: ["lm_head"] },
    w8a8,
  ];
  const own = checkpointFormats.map((format) => quantizationConfig(format));
  for (const json of [...published, ...own]) assert.deepEqual(parse(json), plain);
  const saved = { modules_to_not_convert: null, dequantize: false, scale_fmt: "float" };
  assert.deepEqual(parse({ ...fp8, ...saved }), plain);
  const scaled = parse(quantizationConfig("fp8", { scales: "ue8m0" }));
  assert.deepEqual(scaled, { ...plain, scales: "ue8m0" });
});

const fourBits = { num_bits: 4, strategy: "group", group_size: 32 };
const gptq = { quant_method: "gptq", bits: 4, group_size: 128, desc_act: false, sym: true };
const awq = { quant_method: "awq", bits: 4, group_size: 128, zero_point: true, version: "GEMM" };

test("published INT4 checkpoints' configs are read, and what GPTQ's zero points are stored as", () => {
  // Kimi-K2-Thinking's.
  const packed = { ...withWeights({ ...fourBits, actorder: null }), format: "pack-quantized" };
  assert.deepEqual(parse(packed), plain);
  assert.deepEqual(parse(withWeights({ ...fourBits, symmetric: false })), plain);
  assert.deepEqual(parse({ ...gptq, damp_percent: 0.1 }), { ...plain, zeroPointBias: 1 });
  assert.deepEqual(parse({ ...gptq, checkpoint_format: "gptq_v2" }), plain);
  assert.deepEqual(parse(awq), plain);
});

const refusals: [string, unknown, RegExp][] = [
  ["another method", { quant_method: "bitsandbytes" }, /quant_method "bitsandbytes"/],
  ["inputs in another order", { ...gptq, desc_act: true }, /desc_act true/],
  ["other groups", { ...gptq, group_size: 64 }, /group_size 64/],
  ["groups of whole rows", { ...awq, group_size: -1 }, /group_size -1/],
  ["other bits", { ...awq, bits: 8 }, /bits 8/],
  ["another order of words", { ...awq, version: "gemv" }, /version "gemv"/],
  ["other bits for some layers", { ...gptq, dynamic: { "+:.*": { bits: 8 } } }, /dynamic/],
  ["no method", {}, /quant_method undefined/],
  ["static activations", { ...fp8, activation_scheme: "static" }, /activation_scheme "static"/],
  ["other blocks", { ...fp8, weight_block_size: [64, 64] }, /weight_block_size\.0 64/],
  ["another FP8", { ...fp8, fmt: "e5m2" }, /fmt "e5m2"/],
  [
    "an unknown field",
    { ...fp8, rotation: "hadamard" },
    /quantization_config\.rotation "hadamard"/,
  ],
  ["a quantised cache", { ...w8a8, kv_cache_scheme: { num_bits: 8 } }, /kv_cache_scheme/],
  ["sparse weights", { ...w8a8, sparsity_config: { format: "2of4" } }, /sparsity_config/],
  ["reordered inputs", withWeights({ actorder: "group" }), /group_0\.weights\.actorder "group"/],
  ["float weights", withWeights({ type: "float" }), /group_0\.weights\.type "float"/],
  ["zero points", withWeights({ symmetric: false }), /group_0\.weights\.symmetric false/],
  ["an unknown field of weights", withWeights({ clip: 0.9 }), /group_0\.weights\.clip 0\.9/],
  [
    "static scales of activations",
    { ...w8a8, config_groups: { g: { ...group, input_activations: { dynamic: false } } } },
    /g\.input_activations\.dynamic false/,
  ],
];

for (const [name, json, message] of refusals) {
  test(`${name} would change the numbers and is refused by its field`, () => {
    assert.throws(() => parse(json), message);
  });
}
