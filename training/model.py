"""DeepSeek-V3's graph for training: expanded attention, experts as grouped matmuls."""

import torch
import torch.nn as nn
import torch.nn.functional as F

CONFIG = {
    "vocab_size": 4096,
    "hidden_size": 256,
    "num_hidden_layers": 6,
    "first_k_dense_replace": 1,
    "intermediate_size": 512,
    "num_attention_heads": 4,
    "q_lora_rank": 128,
    "kv_lora_rank": 128,
    "qk_nope_head_dim": 64,
    "qk_rope_head_dim": 32,
    "v_head_dim": 64,
    "n_routed_experts": 48,
    "n_group": 8,
    "topk_group": 4,
    "num_experts_per_tok": 4,
    "moe_intermediate_size": 128,
    "routed_scaling_factor": 1.0,
    "rms_norm_eps": 1e-6,
    "rope_theta": 10000.0,
}


ROW_MULTIPLE = 32


def linear(inputs: int, outputs: int) -> nn.Linear:
    return nn.Linear(inputs, outputs, bias=False)


class Norm(nn.Module):
    def __init__(self, width: int):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x):
        return F.rms_norm(x.float(), (x.shape[-1],), self.weight, CONFIG["rms_norm_eps"])


def rotate(x, positions):
    """Rotates adjacent pairs; x [batch, time, heads, rope]."""
    width = x.shape[-1]
    frequencies = CONFIG["rope_theta"] ** (-torch.arange(0, width, 2).float() / width)
    angles = positions[:, None].float() * frequencies
    cos, sin = angles.cos()[None, :, None], angles.sin()[None, :, None]
    even, odd = x[..., 0::2].float(), x[..., 1::2].float()
    return torch.stack([even * cos - odd * sin, odd * cos + even * sin], -1).flatten(-2).to(x.dtype)


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        c = CONFIG
        self.heads, self.latent = c["num_attention_heads"], c["kv_lora_rank"]
        self.nope, self.rope, self.value = (
            c["qk_nope_head_dim"],
            c["qk_rope_head_dim"],
            c["v_head_dim"],
        )
        hidden, query = c["hidden_size"], c["q_lora_rank"]
        self.q_a_proj = linear(hidden, query)
        self.q_a_layernorm = Norm(query)
        self.q_b_proj = linear(query, self.heads * (self.nope + self.rope))
        self.kv_a_proj_with_mqa = linear(hidden, self.latent + self.rope)
        self.kv_a_layernorm = Norm(self.latent)
        self.kv_b_proj = linear(self.latent, self.heads * (self.nope + self.value))
        self.o_proj = linear(self.heads * self.value, hidden)

    def forward(self, x, cache=None):
        """x [batch, time, hidden]; `cache` holds the keys and values of earlier tokens, and takes these."""
        batch, time, _ = x.shape
        start = cache["keys"].shape[1] if cache else 0
        positions = torch.arange(start, start + time)
        q = self.q_b_proj(self.q_a_layernorm(self.q_a_proj(x))).view(batch, time, self.heads, -1)
        kv = self.kv_a_proj_with_mqa(x)
        expanded = self.kv_b_proj(self.kv_a_layernorm(kv[..., : self.latent])).view(
            batch, time, self.heads, -1
        )
        key_rope = rotate(kv[..., self.latent :].unsqueeze(2), positions).expand(
            -1, -1, self.heads, -1
        )
        q = torch.cat([q[..., : self.nope], rotate(q[..., self.nope :], positions)], -1)
        k = torch.cat([expanded[..., : self.nope], key_rope], -1)
        # Values padded to the keys' width get the fused kernel.
        v = F.pad(expanded[..., self.nope :], (0, self.nope + self.rope - self.value))
        if cache is not None:
            k, v = (
                torch.cat([cache[n], t], 1) if cache else t for n, t in (("keys", k), ("values", v))
            )
            cache.update(keys=k, values=v)
        out = F.scaled_dot_product_attention(
            *(t.transpose(1, 2) for t in (q, k, v)), is_causal=start == 0
        )
        return self.o_proj(out.transpose(1, 2)[..., : self.value].reshape(batch, time, -1))


class Mlp(nn.Module):
    def __init__(self, width: int):
        super().__init__()
        hidden = CONFIG["hidden_size"]
        self.gate_proj = linear(hidden, width)
        self.up_proj = linear(hidden, width)
        self.down_proj = linear(width, hidden)

    def forward(self, x):
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))


class ToSlots(torch.autograd.Function):
    """Row i goes to slot slots[i] of `total`, the other slots are zero; backward gathers."""

    @staticmethod
    def forward(context, rows, slots, total):
        context.save_for_backward(slots)
        return rows.new_zeros(total, rows.shape[1]).index_copy_(0, slots, rows)

    @staticmethod
    def backward(context, gradient):
        return gradient.index_select(0, *context.saved_tensors), None, None


class FromSlots(torch.autograd.Function):
    """The inverse; autograd's own would add where there is nothing to add up."""

    @staticmethod
    def forward(context, rows, slots):
        context.save_for_backward(slots)
        context.total = len(rows)
        return rows.index_select(0, slots)

    @staticmethod
    def backward(context, gradient):
        rows = gradient.new_zeros(context.total, gradient.shape[1])
        return rows.index_copy_(0, *context.saved_tensors, gradient), None


class Moe(nn.Module):
    """Routed experts, balanced by a bias that only the choice sees; `load` counts since its last step."""

    def __init__(self):
        super().__init__()
        c = CONFIG
        hidden, width = c["hidden_size"], c["moe_intermediate_size"]
        self.experts, self.top_k = c["n_routed_experts"], c["num_experts_per_tok"]
        self.groups, self.top_groups = c["n_group"], c["topk_group"]
        self.gate = linear(hidden, self.experts)
        self.register_buffer("bias", torch.zeros(self.experts))
        self.register_buffer("load", torch.zeros(self.experts))
        self.gate_up = nn.Parameter(torch.randn(self.experts, hidden, 2 * width) * hidden**-0.5)
        self.down = nn.Parameter(torch.randn(self.experts, width, hidden) * width**-0.5)
        self.shared = Mlp(width)

    def choose(self, scores):
        choice = scores + self.bias
        groups = choice.view(len(choice), self.groups, -1)
        best = groups.topk(2, -1).values.sum(-1).topk(self.top_groups, -1).indices
        kept = torch.zeros(groups.shape[:2], dtype=torch.bool).scatter_(1, best, True)
        return (
            groups.masked_fill(~kept.unsqueeze(-1), -torch.inf)
            .flatten(1)
            .topk(self.top_k, -1)
            .indices
        )

    def forward(self, x):
        shape = x.shape
        x = x.reshape(-1, shape[-1])
        scores = self.gate(x.float()).sigmoid()
        with torch.no_grad():
            ids = self.choose(scores)
        weights = scores.gather(1, ids)
        weights = (
            weights / (weights.sum(-1, keepdim=True) + 1e-20) * CONFIG["routed_scaling_factor"]
        )
        # One row per (token, expert); an expert's rows lie together, padded to few different heights,
        # because the matmul library keeps a kernel for every shape it meets.
        chosen = ids.flatten()
        order = chosen.argsort(stable=True)
        place = torch.empty_like(order).scatter_(0, order, torch.arange(len(order)))
        counts = torch.bincount(chosen, minlength=self.experts)
        if self.training:
            self.load += counts
        heights = (counts + ROW_MULTIPLE - 1) // ROW_MULTIPLE * ROW_MULTIPLE
        ends = heights.cumsum(0)
        slots = place + ((ends - heights) - (counts.cumsum(0) - counts))[chosen]
        precision = torch.bfloat16 if torch.is_autocast_enabled("cpu") else x.dtype
        x = x.to(precision)
        rows = ToSlots.apply(x.repeat_interleave(self.top_k, 0), slots, int(ends[-1]))
        ends = ends.to(torch.int32)
        gate, up = F.grouped_mm(rows, self.gate_up.to(precision), offs=ends).chunk(2, -1)
        out = F.grouped_mm(F.silu(gate) * up, self.down.to(precision), offs=ends)
        out = FromSlots.apply(out, slots).view(-1, self.top_k, shape[-1])
        return ((out * weights.unsqueeze(-1).to(precision)).sum(1) + self.shared(x)).view(shape)


class Block(nn.Module):
    def __init__(self, dense: bool):
        super().__init__()
        self.input_layernorm = Norm(CONFIG["hidden_size"])
        self.self_attn = Attention()
        self.post_attention_layernorm = Norm(CONFIG["hidden_size"])
        self.mlp = Mlp(CONFIG["intermediate_size"]) if dense else Moe()

    def forward(self, x, cache=None):
        x = x + self.self_attn(self.input_layernorm(x), cache)
        return x + self.mlp(self.post_attention_layernorm(x))


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        hidden, vocabulary = CONFIG["hidden_size"], CONFIG["vocab_size"]
        self.embed = nn.Embedding(vocabulary, hidden)
        self.layers = nn.ModuleList(
            Block(i < CONFIG["first_k_dense_replace"]) for i in range(CONFIG["num_hidden_layers"])
        )
        self.norm = Norm(hidden)
        self.head = linear(hidden, vocabulary)
        nn.init.normal_(self.embed.weight, std=0.5)
        nn.init.normal_(self.head.weight, std=0.02)

    def hidden(self, tokens, caches=None):
        """[batch, time] -> [batch, time, hidden], what the head reads; one cache (a dict) per layer."""
        x = self.embed(tokens)
        for layer, cache in zip(self.layers, caches or [None] * len(self.layers)):
            x = layer(x, cache)
        return self.norm(x)

    def forward(self, tokens):
        return self.head(self.hidden(tokens))
