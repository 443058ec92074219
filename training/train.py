"""Trains by the wall clock: warm-up, constant rate, then a decay to zero; checkpoints can be resumed."""

import argparse
import datetime
import json
import os
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from tokenizers import Tokenizer

from batches import MIXTURE, Batch, Batches
from model import Model, Moe
from optimizer import optimizers

WARM_UP_STEPS = 100
SAVE_SECONDS = 180
REPORT_STEPS = 20
LONG_ROWS_EVERY = 8
BIAS_STEP = 0.003
BIAS_STEP_DECAYING = 0.001


def moment(text: str | None) -> float | None:
    """The next HH:MM in UTC, as seconds since the epoch."""
    if text is None:
        return None
    now = datetime.datetime.now(datetime.timezone.utc)
    hour, minute = map(int, text.split(":"))
    then = now.replace(hour=hour, minute=minute, second=0, microsecond=0)
    return (
        then if then > now - datetime.timedelta(hours=12) else then + datetime.timedelta(days=1)
    ).timestamp()


def rate(step: int, now: float, decay: float | None, stop: float | None) -> float:
    """The share of the full learning rate."""
    warm = min(1.0, (step + 1) / WARM_UP_STEPS)
    if decay is None or stop is None or now < decay:
        return warm
    return min(warm, max(0.0, (stop - now) / (stop - decay)))


def backward(model: Model, batch: Batch, scale: float) -> float:
    """Adds scale * the mean loss of the weighted tokens to the gradients."""
    ids, weights = batch
    with torch.autocast("cpu", torch.bfloat16):
        hidden = model.hidden(ids[:, :-1])
        asked = weights.flatten().nonzero().squeeze(1)
        logits = model.head(hidden.flatten(0, 1)[asked])
    losses = F.cross_entropy(logits.float(), ids[:, 1:].flatten()[asked], reduction="none")
    weights = weights.flatten()[asked]
    loss = (losses * weights).sum() / weights.sum()
    (loss * scale).backward()
    return loss.item()


def balance(moes: list[Moe], step: float) -> None:
    """DeepSeek-V3's balancing without a loss: the bias of a busy expert falls, an idle one's rises."""
    for moe in moes:
        moe.bias -= step * torch.sign(moe.load - moe.load.mean())
        moe.load.zero_()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="what data.py wrote")
    parser.add_argument("--tokenizer", type=Path, required=True, help="tokenizer.json")
    parser.add_argument("--out", type=Path, required=True, help="folder for checkpoint.pt")
    parser.add_argument("--resume", type=Path, help="a checkpoint.pt")
    parser.add_argument("--decay", help="HH:MM in UTC; the rate falls from then to 0 at --stop")
    parser.add_argument("--stop", help="HH:MM in UTC; save and end")
    parser.add_argument(
        "--mixture", type=Path, help="JSON that overrides batches.MIXTURE, read again at every save"
    )
    parser.add_argument("--muon-rate", type=float, default=0.004)
    parser.add_argument("--adam-rate", type=float, default=0.003)
    parser.add_argument(
        "--tokens", type=int, default=4096, help="of skills, and again of language, in a step"
    )
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(arguments.seed)
    arguments.out.mkdir(parents=True, exist_ok=True)
    checkpoint = arguments.out / "checkpoint.pt"

    model = Model().train()
    optims = optimizers(model, arguments.muon_rate, arguments.adam_rate)
    full_rates = [group["lr"] for optim in optims for group in optim.param_groups]
    step = tokens = 0
    if arguments.resume:
        saved = torch.load(arguments.resume)
        model.load_state_dict(saved["model"])
        for optim, state in zip(optims, saved["optimizers"]):
            optim.load_state_dict(state)
        step, tokens = saved["step"], saved["tokens"]
    batches = Batches(
        arguments.data, Tokenizer.from_file(str(arguments.tokenizer)), arguments.seed + step
    )
    moes = [module for module in model.modules() if isinstance(module, Moe)]
    decay, stop = moment(arguments.decay), moment(arguments.stop)

    def save() -> None:
        state = {
            "model": model.state_dict(),
            "optimizers": [optim.state_dict() for optim in optims],
            "step": step,
            "tokens": tokens,
        }
        torch.save(state, checkpoint.with_suffix(".tmp"))
        os.replace(checkpoint.with_suffix(".tmp"), checkpoint)

    def read_mixture() -> None:
        if arguments.mixture and arguments.mixture.exists():
            batches.mixture = MIXTURE | json.loads(arguments.mixture.read_text())

    read_mixture()
    saved_at = reported_at = time.time()
    reported_tokens, skill_losses, language_losses = tokens, [], []
    while stop is None or time.time() < stop:
        now = time.time()
        share = rate(step, now, decay, stop)
        groups = (group for optim in optims for group in optim.param_groups)
        for group, full in zip(groups, full_rates):
            group["lr"] = full * share
        language_time = 2048 if step % LONG_ROWS_EVERY == LONG_ROWS_EVERY - 1 else 256
        skill_batch = batches.skill_batch(arguments.tokens // 128, 128)
        language_batch = batches.language_batch(arguments.tokens // language_time, language_time)
        skill_losses.append(backward(model, skill_batch, 1.0))
        language_losses.append(backward(model, language_batch, batches.mixture["language_weight"]))
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optim in optims:
            optim.step()
            optim.zero_grad(set_to_none=True)
        balance(moes, BIAS_STEP_DECAYING if decay and now > decay else BIAS_STEP)
        step += 1
        tokens += 2 * arguments.tokens
        if step % REPORT_STEPS == 0:
            mean = lambda losses: sum(losses) / len(losses)
            speed = (tokens - reported_tokens) / (time.time() - reported_at)
            print(
                f"{time.strftime('%H:%M:%S', time.gmtime())} step {step} tokens {tokens / 1e6:.2f}M "
                f"skills {mean(skill_losses):.4f} language {mean(language_losses):.4f} "
                f"rate {share:.2f} {speed:.0f} tok/s",
                flush=True,
            )
            reported_at, reported_tokens, skill_losses, language_losses = (
                time.time(),
                tokens,
                [],
                [],
            )
        if time.time() - saved_at > SAVE_SECONDS:
            save()
            read_mixture()
            saved_at = time.time()
    save()


if __name__ == "__main__":
    main()
