import assert from "node:assert/strict";
import { test } from "node:test";
import type { Weight } from "../../kernels/index.ts";
import { fixtureDirectory } from "../fixtures.ts";
import { readConfig } from "./config.ts";
import { CheckpointError } from "./safetensors.ts";
import { modelWeights, type WeightSource } from "./weights.ts";

const configOf = () => readConfig(fixtureDirectory("tiny/v3") as string);

/** A checkpoint of BF16 weights but for some. */
function source(others: Record<string, Partial<Weight>>): WeightSource {
  return {
    has: () => false,
    weight(name, shape) {
      const weight: Weight = { name, shape, dtype: "BF16", file: "shard", offset: 0 };
      const [, other = {}] = Object.entries(others).find(([part]) => name.includes(part)) ?? [];
      return { ...weight, ...other };
    },
  };
}

const scaled = (dtype: Weight["dtype"], shape: readonly number[]): Partial<Weight> => ({
  dtype,
  scale: { name: "scale", shape, dtype: "BF16", file: "shard", offset: 0 },
});

test("a layer's experts are of one format, or the first that is not is named", async () => {
  const config = await configOf();
  const expert = `model.layers.${config.firstDense}.mlp.experts.`;
  for (const part of ["1.gate_proj", "0.up_proj", "3.down_proj"]) {
    const name = `${expert}${part}.weight`;
    const like = `${expert}0.${part.endsWith("down_proj") ? "down" : "gate"}_proj.weight`;
    assert.throws(() => modelWeights(source({ [name]: { dtype: "F32" } }), config), {
      name: CheckpointError.name,
      message: new RegExp(`${name}.* expected BF16 as ${like}, got F32`),
    });
  }
  const { hiddenSize, expertWidth } = config;
  const groups = (width: number) => scaled("I4", [expertWidth, Math.ceil(hiddenSize / width)]);
  const mixed = {
    [`${expert}2.gate_proj`]: groups(128),
    gate_proj: groups(32),
    up_proj: groups(32),
  };
  assert.throws(() => modelWeights(source(mixed), config), {
    message: /expected I4 in groups of 32 as .*experts\.0\.gate_proj.*, got I4 in groups of 128/,
  });
});

test("layers may differ in their experts' format, and experts from all else", async () => {
  const config = await configOf();
  const expert = `model.layers.${config.firstDense}.mlp.experts.`;
  const { layers } = modelWeights(source({ [expert]: { dtype: "F32" } }), config);
  const dtypes = layers.flatMap(({ ffn }) => (ffn.kind === "moe" ? ffn.experts.gate[0].dtype : []));
  assert.deepEqual(new Set(dtypes), new Set(["F32", "BF16"]));
});

test("what is no matrix of a product has no scales", async () => {
  const config = await configOf();
  for (const name of [
    "model.embed_tokens.weight",
    "model.norm.weight",
    "model.layers.0.input_layernorm.weight",
    "model.layers.0.self_attn.kv_a_layernorm.weight",
  ]) {
    assert.throws(() => modelWeights(source({ [name]: scaled("I8", [1, 1]) }), config), {
      message: new RegExp(`${name}.* is I8, as only matrices may be`),
    });
  }
});
