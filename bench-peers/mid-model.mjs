// A GGUF of DaySix's `mid` shape with seeded random weights: the graph of DeepSeek-V3, 1.9 billion parameters.
import { mkdir, readdir, rename, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { array, bool, f32, string, u32, writeGguf } from "./gguf.mjs";

/** Changes with what is written. */
const VERSION = 1;

/** The path of the model, written where it is not there from an earlier bench. */
export async function midModel(shape) {
  const folder = join(tmpdir(), "daysix-bench-peers");
  const path = join(folder, `mid-v${VERSION}.gguf`);
  if (await stat(path).catch(() => undefined)) return path;
  await mkdir(folder, { recursive: true, mode: 0o700 });
  for (const name of await readdir(folder)) await rm(join(folder, name));
  const part = `${path}.part`;
  await writeGguf(part, metadataOf(shape), tensorsOf(shape), randomWeights());
  await rename(part, path);
  return path;
}

function metadataOf(shape) {
  const of = (values) =>
    Object.fromEntries(Object.entries(values).map(([key, value]) => [`deepseek2.${key}`, value]));
  return {
    "general.architecture": string("deepseek2"),
    "general.name": string("mid"),
    ...of({
      block_count: u32(shape.num_hidden_layers),
      context_length: u32(shape.max_position_embeddings),
      embedding_length: u32(shape.hidden_size),
      feed_forward_length: u32(shape.intermediate_size),
      vocab_size: u32(shape.vocab_size),
      leading_dense_block_count: u32(shape.first_k_dense_replace),
      "attention.head_count": u32(shape.num_attention_heads),
      "attention.head_count_kv": u32(1),
      "attention.layer_norm_rms_epsilon": f32(shape.rms_norm_eps),
      "attention.q_lora_rank": u32(shape.q_lora_rank),
      "attention.kv_lora_rank": u32(shape.kv_lora_rank),
      // Absorbed: what a head reads is the latent and the rotated key.
      "attention.key_length": u32(shape.kv_lora_rank + shape.qk_rope_head_dim),
      "attention.value_length": u32(shape.kv_lora_rank),
      "attention.key_length_mla": u32(shape.qk_nope_head_dim + shape.qk_rope_head_dim),
      "attention.value_length_mla": u32(shape.v_head_dim),
      "rope.dimension_count": u32(shape.qk_rope_head_dim),
      "rope.freq_base": f32(shape.rope_theta),
      expert_count: u32(shape.n_routed_experts),
      expert_used_count: u32(shape.num_experts_per_tok),
      expert_shared_count: u32(shape.n_shared_experts),
      expert_feed_forward_length: u32(shape.moe_intermediate_size),
      expert_weights_scale: f32(shape.routed_scaling_factor),
      expert_weights_norm: bool(shape.norm_topk_prob),
      // Sigmoid.
      expert_gating_func: u32(2),
    }),
    ...vocabulary(shape.vocab_size),
  };
}

/** The bytes as tokens, as byte-level BPE names them, and enough others. */
function vocabulary(size) {
  const printable = (byte) =>
    (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174;
  let unprintable = 0;
  const bytes = Array.from({ length: 256 }, (_, byte) =>
    String.fromCodePoint(printable(byte) ? byte : 256 + unprintable++),
  );
  const others = Array.from({ length: size - 256 }, (_, i) => `<token ${i}>`);
  const tokens = [...bytes, "ab", ...others.slice(1)];
  const NORMAL = 1;
  return {
    "tokenizer.ggml.model": string("gpt2"),
    "tokenizer.ggml.pre": string("deepseek-v3"),
    "tokenizer.ggml.tokens": array("string", tokens),
    "tokenizer.ggml.token_type": array(
      "i32",
      tokens.map(() => NORMAL),
    ),
    "tokenizer.ggml.merges": array("string", ["a b"]),
    "tokenizer.ggml.bos_token_id": u32(257),
    "tokenizer.ggml.eos_token_id": u32(258),
  };
}

function tensorsOf(shape) {
  const { hidden_size: hidden, num_attention_heads: heads, kv_lora_rank: latent } = shape;
  const { qk_nope_head_dim: nope, qk_rope_head_dim: rope, v_head_dim: value } = shape;
  const { n_routed_experts: experts, moe_intermediate_size: width } = shape;
  const tensor =
    (type) =>
    (name, ...sides) => ({ name: `${name}.weight`, type, shape: sides });
  const [linear, plain, half] = ["Q8_0", "F32", "BF16"].map(tensor);
  const attention = (layer) => [
    plain(`${layer}.attn_norm`, hidden),
    linear(`${layer}.attn_q_a`, hidden, shape.q_lora_rank),
    plain(`${layer}.attn_q_a_norm`, shape.q_lora_rank),
    linear(`${layer}.attn_q_b`, shape.q_lora_rank, heads * (nope + rope)),
    linear(`${layer}.attn_kv_a_mqa`, hidden, latent + rope),
    plain(`${layer}.attn_kv_a_norm`, latent),
    // In Q8_0 llama.cpp v0.5.0 aborts on processors with AMX.
    half(`${layer}.attn_k_b`, nope, latent, heads),
    half(`${layer}.attn_v_b`, latent, value, heads),
    linear(`${layer}.attn_output`, heads * value, hidden),
    plain(`${layer}.ffn_norm`, hidden),
  ];
  const mlp = (layer, suffix, inner, ...copies) => [
    linear(`${layer}.ffn_gate${suffix}`, hidden, inner, ...copies),
    linear(`${layer}.ffn_up${suffix}`, hidden, inner, ...copies),
    linear(`${layer}.ffn_down${suffix}`, inner, hidden, ...copies),
  ];
  const routed = (layer) => [
    plain(`${layer}.ffn_gate_inp`, hidden, experts),
    { name: `${layer}.exp_probs_b.bias`, type: "F32", shape: [experts] },
    ...mlp(layer, "_exps", width, experts),
    ...mlp(layer, "_shexp", width * shape.n_shared_experts),
  ];
  const layers = Array.from({ length: shape.num_hidden_layers }, (_, i) => [
    ...attention(`blk.${i}`),
    ...(i < shape.first_k_dense_replace
      ? mlp(`blk.${i}`, "", shape.intermediate_size)
      : routed(`blk.${i}`)),
  ]);
  return [
    linear("token_embd", hidden, shape.vocab_size),
    ...layers.flat(),
    plain("output_norm", hidden),
    linear("output", hidden, shape.vocab_size),
  ];
}

/** Norms of 1, biases of 0, and else values whose products keep their size. */
function randomWeights() {
  const random = randomBytes(1);
  return ({ name, type, shape }, bytes) => {
    const data = Buffer.alloc(bytes);
    const spread = 1 / Math.sqrt(shape[0]);
    if (type === "F32") {
      const values = new Float32Array(data.buffer, data.byteOffset, bytes / 4);
      for (let i = 0; i < values.length; i++) {
        if (name.endsWith("norm.weight")) values[i] = 1;
        else if (name.endsWith("gate_inp.weight")) values[i] = (random() - 127.5) * spread * 0.02;
      }
    } else if (type === "BF16") {
      for (let at = 0; at < bytes; at += 2) {
        data.writeUInt16LE(toBf16((random() - 127.5) * spread * 0.0136), at);
      }
    } else {
      const scale = toHalf((spread / 127) * 1.73);
      for (let at = 0; at < bytes; at += 34) {
        data.writeUInt16LE(scale, at);
        for (let i = 2; i < 34; i++) data[at + i] = random();
      }
    }
    return data;
  };
}

/** Bytes of a seeded generator: xorshift32. */
function randomBytes(seed) {
  let state = seed;
  let left = 0;
  let word = 0;
  return () => {
    if (left-- === 0) {
      state ^= state << 13;
      state ^= state >>> 17;
      state ^= state << 5;
      word = state;
      left = 3;
    }
    const byte = word & 0xff;
    word >>>= 8;
    return byte;
  };
}

const float = new Float32Array(1);
const bits = new Uint32Array(float.buffer);

function toBf16(x) {
  float[0] = x;
  return bits[0] >>> 16;
}

/** A positive normal half. */
function toHalf(x) {
  const exponent = Math.floor(Math.log2(x));
  return ((exponent + 15) << 10) | Math.round((x / 2 ** exponent - 1) * 1023);
}
