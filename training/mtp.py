"""calf's MTP layer: the graph, its training on the frozen trunk, and its shard in the published form."""

import argparse
import json
import os
import time
from pathlib import Path

import torch
import torch.nn as nn
import torch.nn.functional as F
from safetensors.torch import save_file
from tokenizers import Tokenizer

from batches import Batch, Batches
from export import block_tensors, read_export
from model import CONFIG, Block, Model, Norm, linear
from optimizer import optimizers
from train import BIAS_STEP_DECAYING, LONG_ROWS_EVERY, REPORT_STEPS, SAVE_SECONDS, balance, moment

LAYER = f"model.layers.{CONFIG['num_hidden_layers']}"
SHARD = "model-mtp.safetensors"
WARM_UP_STEPS = 50
# Rows that get the layer's own state in place of the trunk's, as rows of a chain of drafts do.
CHAINED = 0.3


class NextToken(nn.Module):
    """z = block(eh_proj [enorm(embedding of a token); hnorm(the trunk's state before it)])"""

    def __init__(self):
        super().__init__()
        hidden = CONFIG["hidden_size"]
        self.enorm, self.hnorm = Norm(hidden), Norm(hidden)
        self.eh_proj = linear(2 * hidden, hidden)
        self.block = Block(dense=False)
        self.norm = Norm(hidden)

    def forward(self, embedded, states):
        """States of the tokens: what the head reads, and what a chain's next row takes."""
        x = self.eh_proj(torch.cat([self.enorm(embedded), self.hnorm(states)], -1))
        return self.norm(self.block(x))


def begin_as_last_layer(layer: NextToken, trunk: Model) -> None:
    """The trunk's last layer on the trunk's states already predicts, so that less is to be learnt."""
    hidden = CONFIG["hidden_size"]
    layer.block.load_state_dict(trunk.layers[-1].state_dict())
    layer.norm.load_state_dict(trunk.norm.state_dict())
    with torch.no_grad():
        layer.eh_proj.weight.copy_(torch.cat([0.5 * torch.eye(hidden), torch.eye(hidden)], 1))


def before(states):
    """[batch, time, hidden]: of each token, the state of the one before; zero of the first."""
    return F.pad(states, (0, 0, 1, 0))[:, :-1]


def backward(trunk: Model, layer: NextToken, batch: Batch, scale: float) -> tuple[float, float]:
    """Adds gradients towards what the trunk predicts; the loss, and how often the choices agree."""
    ids, weights = batch
    asked = weights.flatten().nonzero().squeeze(1)
    with torch.autocast("cpu", torch.bfloat16):
        with torch.no_grad():
            embedded = trunk.embed(ids[:, :-1])
            states = trunk.hidden(ids[:, :-1])
            target = trunk.head(states.flatten(0, 1)[asked]).float().softmax(-1)
            own = layer(embedded, before(states))
            chained = torch.rand(ids[:, :-1].shape).unsqueeze(-1) < CHAINED
            states = torch.where(chained, before(own), before(states))
        drafts = layer(embedded, states)
        logits = trunk.head(drafts.flatten(0, 1)[asked])
    losses = F.cross_entropy(logits.float(), target, reduction="none")
    weights = weights.flatten()[asked]
    loss = (losses * weights).sum() / weights.sum()
    (loss * scale).backward()
    agree = (logits.argmax(-1) == target.argmax(-1)).float().mean()
    return loss.item(), agree.item()


def published_tensors(layer: NextToken) -> dict[str, torch.Tensor]:
    """Embedding and head are the trunk's; `eh_proj` stays BF16, as DeepSeek publishes it."""
    own = {
        "enorm": layer.enorm,
        "hnorm": layer.hnorm,
        "eh_proj": layer.eh_proj,
        "shared_head.norm": layer.norm,
    }
    tensors = block_tensors(layer.block, LAYER)
    for part, module in own.items():
        tensors[f"{LAYER}.{part}.weight"] = module.weight.detach().to(torch.bfloat16)
    return dict(sorted(tensors.items()))


def ship(layer: NextToken, folder: Path) -> None:
    """Adds the layer's shard to an exported model; the other shards stay as they are."""
    tensors = published_tensors(layer)
    save_file(tensors, folder / SHARD, metadata={"format": "pt"})
    path = folder / "model.safetensors.index.json"
    index = json.loads(path.read_text())
    trunk = {name: file for name, file in index["weight_map"].items() if file != SHARD}
    index["weight_map"] = trunk | {name: SHARD for name in tensors}
    index["metadata"]["total_size"] += sum(tensor.nbytes for tensor in tensors.values())
    path.write_text(json.dumps(index, indent=1) + "\n")
    path = folder / "config.json"
    config = json.loads(path.read_text()) | {"num_nextn_predict_layers": 1}
    path.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")


def train(trunk: Model, layer: NextToken, batches: Batches, arguments) -> None:
    optims = optimizers(layer, arguments.muon_rate, arguments.adam_rate)
    groups = [group for optim in optims for group in optim.param_groups]
    full_rates = [group["lr"] for group in groups]
    began, stop = time.time(), moment(arguments.stop)
    saved_at, step, seen = began, 0, []
    while time.time() < stop:
        share = min(1.0, (step + 1) / WARM_UP_STEPS, 2 * (stop - time.time()) / (stop - began))
        for group, full in zip(groups, full_rates):
            group["lr"] = full * max(0.0, share)
        language_time = 2048 if step % LONG_ROWS_EVERY == LONG_ROWS_EVERY - 1 else 256
        skills = batches.skill_batch(arguments.tokens // 128, 128)
        language = batches.language_batch(arguments.tokens // language_time, language_time)
        seen.append((*backward(trunk, layer, skills, 1.0), *backward(trunk, layer, language, 1.0)))
        torch.nn.utils.clip_grad_norm_(layer.parameters(), 1.0)
        for optim in optims:
            optim.step()
            optim.zero_grad(set_to_none=True)
        balance([layer.block.mlp], BIAS_STEP_DECAYING)
        step += 1
        if step % REPORT_STEPS == 0:
            means = torch.tensor(seen).mean(0).tolist()
            names = ("skills", "agree", "language", "agree")
            figures = " ".join(f"{name} {mean:.3f}" for name, mean in zip(names, means))
            print(f"{time.strftime('%H:%M:%S')} step {step} {figures} rate {share:.2f}", flush=True)
            seen = []
        if time.time() - saved_at > SAVE_SECONDS:
            save(layer, arguments.out)
            saved_at = time.time()
    save(layer, arguments.out)


def save(layer: NextToken, path: Path) -> None:
    torch.save(layer.state_dict(), path.with_suffix(".tmp"))
    os.replace(path.with_suffix(".tmp"), path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, required=True, help="an exported model: the trunk")
    parser.add_argument("--out", type=Path, required=True, help="the layer's checkpoint")
    parser.add_argument("--data", type=Path, help="what data.py wrote; trains until --stop")
    parser.add_argument("--stop", help="HH:MM in UTC")
    parser.add_argument("--resume", action="store_true", help="begin with the layer in --out")
    parser.add_argument("--ship", action="store_true", help="add the layer's shard to the model")
    parser.add_argument("--muon-rate", type=float, default=0.002)
    parser.add_argument("--adam-rate", type=float, default=0.001)
    parser.add_argument("--tokens", type=int, default=2048, help="of skills, and of language, a step")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(arguments.seed)
    trunk = read_export(arguments.model).eval()
    layer = NextToken().train()
    begin_as_last_layer(layer, trunk)
    if arguments.resume or arguments.ship:
        layer.load_state_dict(torch.load(arguments.out))
    if arguments.data:
        tokenizer = Tokenizer.from_file(str(arguments.model / "tokenizer.json"))
        train(trunk, layer, Batches(arguments.data, tokenizer, arguments.seed), arguments)
    if arguments.ship:
        ship(layer, arguments.model)


if __name__ == "__main__":
    main()
