"""Measures a checkpoint or an export: exact answers per skill, bits per byte beside a 5-gram, FP8's cost."""

import argparse
import json
import random
from collections import defaultdict
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from tokenizers import Tokenizer

import chat
import skills
from export import read_export, round_as_published
from generate import greedy
from model import CONFIG, Model
from ngram import FiveGram

CONTEXT = 2048
THINKING_LIMIT = 160
DIRECT_LIMIT = 40


def held_out_questions(per_skill: int, seed: int) -> dict[str, list[skills.Question]]:
    """Different held-out questions for every skill; months, which have none, are asked as trained."""
    r = random.Random(seed)
    asked: dict[str, dict[str, skills.Question]] = defaultdict(dict)
    for generator in skills.GENERATORS:
        for _ in range(per_skill * 40):
            question = skills.question(r, {generator: 1}, held=generator != "month")
            if len(asked[question.skill]) < per_skill:
                asked[question.skill][question.text] = question
    return {skill: list(questions.values()) for skill, questions in asked.items()}


def answer_of(tokenizer: Tokenizer, ids: list[int], thinking: bool) -> str | None:
    """What follows the thoughts; None when they do not end."""
    if thinking:
        if chat.END_THINK not in ids:
            return None
        ids = ids[len(ids) - ids[::-1].index(chat.END_THINK) :]
    return tokenizer.decode(ids, skip_special_tokens=False)


def exact_rates(
    model: Model, tokenizer: Tokenizer, per_skill: int, thinking: bool, seed: int, failures: int
) -> dict:
    """Per skill: right answers, questions; prints some wrong transcripts."""
    rates = {}
    for skill, questions in sorted(held_out_questions(per_skill, seed).items()):
        prompts = [chat.prompt(tokenizer, q.text, thinking) for q in questions]
        written = greedy(model, prompts, THINKING_LIMIT if thinking else DIRECT_LIMIT)
        wrong = [
            (q, ids)
            for q, ids in zip(questions, written)
            if answer_of(tokenizer, ids, thinking) != q.answer
        ]
        rates[skill] = [len(questions) - len(wrong), len(questions)]
        for q, ids in wrong[:failures]:
            text = tokenizer.decode(ids, skip_special_tokens=False)
            print(
                f"wrong: {q.text}\n  wrote  {text!r}\n  wanted {q.steps + '</think>' + q.answer!r}"
            )
    return rates


@torch.no_grad()
def model_bits(model: Model, ids: list[int]) -> float:
    """The bits of every token after the first, in windows of the model's context."""
    bits = 0.0
    for start in range(0, len(ids) - 1, CONTEXT):
        window = torch.tensor(ids[start : start + CONTEXT + 1])
        logits = model(window[None, :-1])[0]
        bits += F.cross_entropy(logits.float(), window[1:], reduction="sum").item() / np.log(2)
    return bits


def texts(
    held: dict, tokenizer: Tokenizer, kind: str, limit: int | None
) -> list[tuple[list[int], int]]:
    """(token ids, bytes of text) of the held-out texts; the tokens include the roles and the end."""
    if kind == "stories":
        documents = [
            ([chat.BEGIN, *chat.encode(tokenizer, d), chat.END], len(d.encode()))
            for d in held[kind]
        ]
    else:
        documents = [
            (
                chat.conversation(tokenizer, messages)[0],
                sum(len(m["content"].encode()) for m in messages),
            )
            for messages in held[kind]
        ]
    return documents[:limit]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--checkpoint", type=Path, help="checkpoint.pt of train.py")
    source.add_argument("--export", type=Path, help="folder that export.py wrote")
    parser.add_argument("--data", type=Path, required=True, help="what data.py wrote")
    parser.add_argument("--tokenizer", type=Path, required=True, help="tokenizer.json")
    parser.add_argument("--questions", type=int, default=200, help="per skill; 0 for none")
    parser.add_argument("--texts", type=int, help="per kind; all when left out")
    parser.add_argument(
        "--failures", type=int, default=0, help="wrong transcripts to print per skill"
    )
    parser.add_argument("--five-gram", action="store_true")
    parser.add_argument(
        "--fp8", action="store_true", help="round a checkpoint's weights as the export does"
    )
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=7)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    tokenizer = Tokenizer.from_file(str(arguments.tokenizer))
    skills.words = json.loads((arguments.data / "words.json").read_text())
    held = json.loads((arguments.data / "held.json").read_text())
    if arguments.export:
        model = read_export(arguments.export)
    else:
        model = Model()
        model.load_state_dict(torch.load(arguments.checkpoint)["model"])
    model.eval()
    if arguments.fp8:
        round_as_published(model)
    for thinking in (True, False) if arguments.questions else ():
        rates = exact_rates(
            model, tokenizer, arguments.questions, thinking, arguments.seed, arguments.failures
        )
        print("with thinking" if thinking else "without thinking")
        for skill, (right, asked) in rates.items():
            print(f"  {skill:8} {right}/{asked} = {right / asked:.1%}", flush=True)
    for kind in ("stories", "chat"):
        documents = texts(held, tokenizer, kind, arguments.texts)
        size = sum(length for _, length in documents)
        line = f"{kind}: {len(documents)} texts, {size} bytes, model {sum(model_bits(model, i) for i, _ in documents) / size:.4f}"
        if arguments.five_gram:
            baseline = FiveGram(np.load(arguments.data / "tokens.npz")[kind], CONFIG["vocab_size"])
            line += f", 5-gram {sum(baseline.bits(np.array(i)) for i, _ in documents) / size:.4f}"
        print(f"{line} bits per byte", flush=True)


if __name__ == "__main__":
    main()
