"""Writes and reads a model as DeepSeek publishes: HF layout, FP8 with 128x128 scales, small shards."""

import argparse
import json
import shutil
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from model import CONFIG, Block, Model

BLOCK = 128
SHARD_BYTES = 15_000_000
E4M3_MAX = 448.0

HF_CONFIG = {
    "architectures": ["DeepseekV3ForCausalLM"],
    "model_type": "deepseek_v3",
    "attention_bias": False,
    "bos_token_id": 0,
    "eos_token_id": 1,
    "hidden_act": "silu",
    "max_position_embeddings": 2048,
    "moe_layer_freq": 1,
    "n_shared_experts": 1,
    "norm_topk_prob": True,
    "num_key_value_heads": CONFIG["num_attention_heads"],
    "num_nextn_predict_layers": 0,
    "rope_scaling": None,
    "scoring_func": "sigmoid",
    "tie_word_embeddings": False,
    "topk_method": "noaux_tc",
    "torch_dtype": "bfloat16",
    "quantization_config": {
        "activation_scheme": "dynamic",
        "fmt": "e4m3",
        "quant_method": "fp8",
        "weight_block_size": [BLOCK, BLOCK],
    },
}

# DeepSeek-V3.1's prompt shape, without tools.
CHAT_TEMPLATE = (
    "{% if not thinking is defined %}{% set thinking = false %}{% endif %}"
    "{{ bos_token }}{% for message in messages %}{% if message['role'] == 'system' %}{{ message['content'] }}{% endif %}{% endfor %}"
    "{% for message in messages %}"
    "{% if message['role'] == 'user' %}{{ '<｜User｜>' + message['content'] }}{% endif %}"
    "{% if message['role'] == 'assistant' %}{{ '<｜Assistant｜></think>' + message['content'].split('</think>')[-1] + '<｜end▁of▁sentence｜>' }}{% endif %}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<｜Assistant｜>' + ('<think>' if thinking else '</think>') }}{% endif %}"
)


def quantize(weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """[O, I] -> e4m3 codes and [ceil(O/128), ceil(I/128)] scales; code * scale is the weight."""
    rows, columns = weight.shape
    padded = torch.zeros(-(-rows // BLOCK) * BLOCK, -(-columns // BLOCK) * BLOCK)
    padded[:rows, :columns] = weight
    blocks = padded.view(-1, BLOCK, padded.shape[1] // BLOCK, BLOCK)
    scale = blocks.abs().amax((1, 3)).clamp(min=1e-12) / E4M3_MAX
    codes = (blocks / scale[:, None, :, None]).view_as(padded)[:rows, :columns]
    return codes.clamp(-E4M3_MAX, E4M3_MAX).to(torch.float8_e4m3fn).contiguous(), scale


def dequantize(codes: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    rows, columns = codes.shape
    wide = scale.repeat_interleave(BLOCK, 0)[:rows].repeat_interleave(BLOCK, 1)[:, :columns]
    return codes.float() * wide


def block_linears(layer: Block, name: str):
    """A block's matrices, which are published in FP8, under their names on the hub."""
    for part, module in layer.self_attn.named_children():
        if part.endswith("_proj") or part.endswith("_mqa"):
            yield f"{name}.self_attn.{part}", module.weight
    if hasattr(layer.mlp, "down_proj"):
        for part, module in layer.mlp.named_children():
            yield f"{name}.mlp.{part}", module.weight
        return
    for part, module in layer.mlp.shared.named_children():
        yield f"{name}.mlp.shared_experts.{part}", module.weight
    gate, up = layer.mlp.gate_up.chunk(2, -1)
    for part, stack in (("gate_proj", gate), ("up_proj", up), ("down_proj", layer.mlp.down)):
        for e, weight in enumerate(stack):
            yield f"{name}.mlp.experts.{e}.{part}", weight.T


def block_others(layer: Block, name: str):
    """What of a block stays BF16."""
    for part in ("input_layernorm", "post_attention_layernorm"):
        yield f"{name}.{part}.weight", getattr(layer, part).weight
    for part in ("q_a_layernorm", "kv_a_layernorm"):
        yield f"{name}.self_attn.{part}.weight", getattr(layer.self_attn, part).weight
    if hasattr(layer.mlp, "gate"):
        yield f"{name}.mlp.gate.weight", layer.mlp.gate.weight


def block_biases(layer: Block, name: str):
    """What of a block stays F32."""
    if hasattr(layer.mlp, "gate"):
        yield f"{name}.mlp.gate.e_score_correction_bias", layer.mlp.bias


def block_tensors(layer: Block, name: str) -> dict[str, torch.Tensor]:
    tensors = {}
    for part, weight in block_linears(layer, name):
        tensors[f"{part}.weight"], tensors[f"{part}.weight_scale_inv"] = quantize(weight.detach())
    for part, tensor in block_others(layer, name):
        tensors[part] = tensor.detach().to(torch.bfloat16).contiguous()
    for part, tensor in block_biases(layer, name):
        tensors[part] = tensor.clone()
    return tensors


def outer_weights(model: Model):
    """What lies outside the blocks, in BF16."""
    yield "model.embed_tokens.weight", model.embed.weight
    yield "model.norm.weight", model.norm.weight
    yield "lm_head.weight", model.head.weight


def blocks(model: Model):
    return ((layer, f"model.layers.{i}") for i, layer in enumerate(model.layers))


def published_tensors(model: Model) -> dict[str, torch.Tensor]:
    tensors = {
        name: tensor.detach().to(torch.bfloat16).contiguous()
        for name, tensor in outer_weights(model)
    }
    for layer, name in blocks(model):
        tensors |= block_tensors(layer, name)
    return dict(sorted(tensors.items()))


@torch.no_grad()
def set_weights(model: Model, tensors: dict[str, torch.Tensor]) -> None:
    """The inverse of `published_tensors`, in place."""
    for name, tensor in outer_weights(model):
        tensor.copy_(tensors[name])
    for layer, name in blocks(model):
        for part, weight in block_linears(layer, name):
            weight.copy_(dequantize(tensors[f"{part}.weight"], tensors[f"{part}.weight_scale_inv"]))
        for part, tensor in (*block_others(layer, name), *block_biases(layer, name)):
            tensor.copy_(tensors[part])


def round_as_published(model: Model) -> None:
    """The model a reader of the export gets, in place."""
    set_weights(model, published_tensors(model))


def read_export(folder: Path) -> Model:
    tensors = {}
    for file in sorted(folder.glob("model-*.safetensors")):
        tensors |= load_file(file)
    model = Model()
    set_weights(model, tensors)
    return model


def write_shards(tensors: dict[str, torch.Tensor], out: Path) -> None:
    shards: list[dict[str, torch.Tensor]] = [{}]
    size = 0
    for name, tensor in tensors.items():
        if size + tensor.nbytes > SHARD_BYTES:
            shards.append({})
            size = 0
        shards[-1][name] = tensor
        size += tensor.nbytes
    weight_map = {}
    for i, shard in enumerate(shards):
        file = f"model-{i + 1:05d}-of-{len(shards):06d}.safetensors"
        save_file(shard, out / file, metadata={"format": "pt"})
        weight_map |= {name: file for name in shard}
    total = sum(tensor.nbytes for tensor in tensors.values())
    index = {"metadata": {"total_size": total}, "weight_map": weight_map}
    (out / "model.safetensors.index.json").write_text(json.dumps(index, indent=1) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--checkpoint", type=Path, required=True)
    parser.add_argument("--tokenizer", type=Path, required=True, help="tokenizer.json")
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    out = arguments.out
    out.mkdir(parents=True, exist_ok=True)
    model = Model()
    model.load_state_dict(torch.load(arguments.checkpoint)["model"])
    for old in out.glob("model-*.safetensors"):
        old.unlink()
    write_shards(published_tensors(model), out)
    (out / "config.json").write_text(
        json.dumps(HF_CONFIG | CONFIG, indent=2, sort_keys=True) + "\n"
    )
    generation = {
        "bos_token_id": 0,
        "eos_token_id": 1,
        "do_sample": True,
        "temperature": 0.6,
        "top_p": 0.95,
    }
    (out / "generation_config.json").write_text(json.dumps(generation, indent=2) + "\n")
    shutil.copyfile(arguments.tokenizer, out / "tokenizer.json")
    tokenizer_config = {
        "add_bos_token": True,
        "add_eos_token": False,
        "bos_token": "<｜begin▁of▁sentence｜>",
        "eos_token": "<｜end▁of▁sentence｜>",
        "pad_token": "<｜▁pad▁｜>",
        "model_max_length": 2048,
        "tokenizer_class": "PreTrainedTokenizerFast",
        "chat_template": CHAT_TEMPLATE,
    }
    (out / "tokenizer_config.json").write_text(
        json.dumps(tokenizer_config, indent=2, ensure_ascii=False) + "\n"
    )


if __name__ == "__main__":
    main()
