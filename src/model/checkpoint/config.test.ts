import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { parseConfig, readConfig } from "./config.ts";
import { repositoryRoot, tinyFixtures } from "../fixtures.ts";
import { writeTinyTokenizer } from "../text/tokenizer-fixtures.ts";

const published = join(repositoryRoot, "../shared/data/model-configs");
const skip = existsSync(published) ? false : "../shared/data/model-configs is not here";

const readRaw = (name: string) =>
  JSON.parse(readFileSync(join(repositoryRoot, "fixtures/tiny", name, "config.json"), "utf8"));

test("DeepSeek-V3's published config reads as the paper describes it", { skip }, async () => {
  const config = await readConfig(join(published, "deepseek-ai--DeepSeek-V3"));
  assert.equal(config.layers, 61);
  assert.equal(config.queryRank, 1536);
  assert.equal(config.latentRank + config.ropeWidth, 576);
  assert.equal(config.firstDense, 3);
  assert.deepEqual(config.gate, {
    experts: 256,
    topK: 8,
    scoring: "sigmoid",
    method: "noaux_tc",
    groups: 8,
    topGroups: 4,
    normalise: true,
    scale: 2.5,
  });
  assert.equal(config.rope.scaling?.factor, 40);
  assert.deepEqual(config.eosTokens, [1]);
});

test("R1, V3.2 and Kimi-K2 are read; V4 is refused by field", { skip }, async () => {
  await readConfig(join(published, "deepseek-ai--DeepSeek-R1"));
  const kimi = await readConfig(join(published, "moonshotai--Kimi-K2-Instruct"));
  assert.equal(kimi.gate.experts, 384);
  const sparse = await readConfig(join(published, "deepseek-ai--DeepSeek-V3.2"));
  assert.equal(sparse.maxPositions, 2048);
  const refused = readConfig(join(published, "deepseek-ai--DeepSeek-V4-Flash"));
  await assert.rejects(refused, /model_type "deepseek_v4"/);
});

test("both dialects give every fixture its family's rules", async () => {
  for (const { directory, name } of tinyFixtures()) {
    const { gate, rope } = await readConfig(directory);
    const second = name.startsWith("v2");
    assert.equal(gate.scoring, second ? "softmax" : "sigmoid", name);
    assert.equal(gate.method === "noaux_tc", !second, name);
    assert.ok(rope.theta > 0);
  }
});

const refusals: [string, Record<string, unknown>, RegExp][] = [
  ["attention bias", { attention_bias: true }, /attention_bias true is not supported/],
  ["another activation", { hidden_act: "gelu" }, /hidden_act "gelu" is not supported/],
  ["tied embeddings", { tie_word_embeddings: true }, /tie_word_embeddings true/],
  ["another family", { model_type: "llama" }, /model_type "llama" is not supported/],
  ["an odd rope width", { qk_rope_head_dim: 7 }, /qk_rope_head_dim 7 is not supported/],
  ["groups that do not divide", { n_group: 3 }, /n_group 3 does not divide/],
  ["groups of one expert", { n_group: 16, topk_group: 8 }, /fewer than two experts/],
  ["more experts than groups hold", { num_experts_per_tok: 16 }, /num_experts_per_tok 16/],
  ["a sparse layer pattern", { moe_layer_freq: 2 }, /moe_layer_freq 2/],
  ["linear rope", { rope_scaling: { type: "linear", factor: 2 } }, /rope_scaling.type "linear"/],
  ["a wrong type", { hidden_size: "64" }, /hidden_size: .*number/],
  ["a negative size", { vocab_size: -1 }, /vocab_size/],
  ["a fraction", { num_hidden_layers: 2.5 }, /num_hidden_layers/],
  ["an absurd size", { hidden_size: 1e300 }, /hidden_size/],
  ["another quantisation", { quantization_config: { quant_method: "x" } }, /quant_method "x"/],
  ["a multimodal wrapper", { text_config: {} }, /text_config/],
  ["MLX's quantisation", { quantization: { group_size: 64, bits: 4 } }, /quantization .*MLX/],
  ["biased experts", { mlp_bias: true }, /mlp_bias true is not supported: only false/],
  ["a sliding window", { sliding_window: 4096 }, /sliding_window 4096/],
  ["a clamped SwiGLU", { swiglu_limit: 7 }, /swiglu_limit 7/],
  ["partly rotated keys", { partial_rotary_factor: 0.5 }, /partial_rotary_factor 0.5/],
  [
    "layers of several kinds",
    { layer_types: ["full_attention", "linear_attention"] },
    /layer_types/,
  ],
  ["a field nobody knows", { residual_multiplier: 0.22 }, /residual_multiplier 0.22 .*not known/],
  [
    "an amplitude of its own",
    { rope_scaling: { ...readRaw("v3").rope_scaling, attention_factor: 1.2 } },
    /rope_scaling.attention_factor 1.2 is not supported/,
  ],
  [
    "YaRN's ramp not truncated",
    { rope_parameters: { ...readRaw("v3").rope_scaling, rope_theta: 1e4, truncate: false } },
    /rope_parameters.truncate false is not supported: only true/,
  ],
];

test("fields that ask for nothing, or that only training reads, are accepted", () => {
  const nothing = {
    sliding_window: null,
    partial_rotary_factor: 1,
    mlp_bias: false,
    head_dim: 192,
  };
  const training = {
    seq_aux: true,
    initializer_range: 0.01,
    unsloth_fixed: true,
    _name_or_path: "x",
  };
  parseConfig({ ...readRaw("v3"), ...nothing, ...training }, "config.json");
});

test("a multimodal checkpoint's language model is read, with what only the wrapper says", () => {
  const { eos_token_id, ...text_config } = readRaw("k2");
  const wrapper = { model_type: "kimi_k25", vision_config: {}, eos_token_id, text_config };
  const config = parseConfig(wrapper, "config.json");
  assert.equal(config.modelType, "kimi_k2");
  assert.deepEqual(config.eosTokens, [eos_token_id]);
  const refused = { ...wrapper, text_config: { ...text_config, mlp_bias: true } };
  assert.throws(() => parseConfig(refused, "config.json"), /mlp_bias/);
});

for (const [name, change, message] of refusals) {
  test(`a config with ${name} is refused by its field and file`, () => {
    const refused = () => parseConfig({ ...readRaw("v3"), ...change }, "some/config.json");
    assert.throws(refused, message);
    assert.throws(refused, /^ConfigError: some\/config\.json: /);
  });
}

test("a config without an end token takes the tokenizer's", async () => {
  const directory = await mkdtemp(join(tmpdir(), "daysix-config-"));
  const { eos_token_id: _, ...others } = readRaw("v3");
  await writeTinyTokenizer(directory);
  await writeFile(join(directory, "config.json"), JSON.stringify(others));
  assert.deepEqual((await readConfig(directory)).eosTokens, [1]);
  await writeFile(join(directory, "generation_config.json"), JSON.stringify({ eos_token_id: 7 }));
  assert.deepEqual((await readConfig(directory)).eosTokens, [7]);
  await rm(directory, { recursive: true });
});
