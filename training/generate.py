"""Greedy answers to many prompts at once."""

from collections import defaultdict

import torch

import chat
from model import Model


@torch.no_grad()
def greedy_same_length(model: Model, prompts: torch.Tensor, limit: int) -> list[list[int]]:
    """prompts [batch, time] -> each row's own tokens up to and without the end token."""
    caches = [{} for _ in model.layers]
    answers: list[list[int]] = [[] for _ in prompts]
    open_rows = set(range(len(prompts)))
    tokens = prompts
    for _ in range(limit):
        tokens = model.head(model.hidden(tokens, caches)[:, -1]).argmax(-1, keepdim=True)
        for row, token in enumerate(tokens.squeeze(1).tolist()):
            if token == chat.END:
                open_rows.discard(row)
            elif row in open_rows:
                answers[row].append(token)
        if not open_rows:
            break
    return answers


def greedy(model: Model, prompts: list[list[int]], limit: int) -> list[list[int]]:
    by_length = defaultdict(list)
    for i, ids in enumerate(prompts):
        by_length[len(ids)].append(i)
    answers: list[list[int]] = [[] for _ in prompts]
    for members in by_length.values():
        rows = greedy_same_length(model, torch.tensor([prompts[i] for i in members]), limit)
        for i, row in zip(members, rows):
            answers[i] = row
    return answers
