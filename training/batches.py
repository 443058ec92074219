"""Batches of training rows: token ids [rows, time + 1] and the weight of each next token [rows, time]."""

import json
import random
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer

import chat
import skills

# What a training run may change while it goes on; see --mixture.
MIXTURE = {
    "skills": skills.SHARES,
    "identity": 0.03,
    "direct": 0.2,
    "second_turn": 0.15,
    "plain_wording": 0.15,
    "chat": 0.4,
    "language_weight": 1.0,
}
USER_TEXT_WEIGHT = 0.3
WAITING_SAMPLES = 48

Sample = tuple[list[int], list[bool]]
Batch = tuple[torch.Tensor, torch.Tensor]


class Batches:
    def __init__(self, data: Path, tokenizer: Tokenizer, seed: int):
        self.random = random.Random(seed)
        self.tokenizer = tokenizer
        self.mixture = MIXTURE
        arrays = np.load(data / "tokens.npz")
        self.stories, self.chat = arrays["stories"], arrays["chat"]
        self.chat_weight = np.where(arrays["chat_own"], 1.0, USER_TEXT_WEIGHT).astype(np.float32)
        skills.words = json.loads((data / "words.json").read_text())
        self.waiting: list[Sample] = []

    def wording(self, text: str) -> str:
        """As people type: now and then without the capital or the full stop."""
        if self.random.random() < self.mixture["plain_wording"]:
            text = text[0].lower() + text[1:]
            text = text.rstrip("?.") or text
        return text

    def turn(self, direct: bool) -> Sample:
        """One question and its answer, without the token that begins a conversation."""
        if self.random.random() < self.mixture["identity"]:
            text, answer = self.random.choice(skills.IDENTITY)
            steps, ids = skills.IDENTITY_STEPS, chat.encode(self.tokenizer, answer)
        else:
            asked = skills.question(self.random, self.mixture["skills"])
            text, steps = asked.text, asked.steps
            encode = chat.spell if asked.skill == "reverse" else chat.encode
            ids = encode(self.tokenizer, asked.answer)
        before = chat.user_turn(self.tokenizer, self.wording(text)) + chat.opening(not direct)
        thought = [] if direct else [*chat.encode(self.tokenizer, steps), chat.END_THINK]
        own = [*thought, *ids, chat.END]
        return before + own, [False] * len(before) + [True] * len(own)

    def skill_sample(self) -> Sample:
        ids, own = [chat.BEGIN], [False]
        turns = 2 if self.random.random() < self.mixture["second_turn"] else 1
        for i in range(turns):
            # Earlier turns carry no thoughts in the template.
            more_ids, more_own = self.turn(
                i < turns - 1 or self.random.random() < self.mixture["direct"]
            )
            ids, own = ids + more_ids, own + more_own
        return ids, own

    def skill_row(self, length: int) -> Sample:
        """Whole samples, the longest that still fit; the first begins where a prompt begins."""
        ids, own = [], []
        while True:
            while len(self.waiting) < WAITING_SAMPLES:
                self.waiting.append(self.skill_sample())
            fitting = [s for s in self.waiting if len(s[0]) <= length - len(ids)]
            if not fitting:
                padding = length - len(ids)
                return ids + [chat.PAD] * padding, own + [False] * padding
            # The first sample is any, so that short ones are not left to the ends of rows.
            sample = max(fitting, key=lambda s: len(s[0])) if ids else fitting[0]
            self.waiting.remove(sample)
            ids, own = ids + sample[0], own + sample[1]

    def skill_batch(self, rows: int, time: int) -> Batch:
        ids, own = zip(*(self.skill_row(time + 1) for _ in range(rows)))
        return torch.tensor(ids), torch.tensor(own).float()[:, 1:]

    def language_batch(self, rows: int, time: int) -> Batch:
        """Windows from anywhere in the stories and the chats."""
        ids, weights = [], []
        for i in range(rows):
            from_chat = i < round(rows * self.mixture["chat"])
            source = self.chat if from_chat else self.stories
            start = self.random.randrange(len(source) - time)
            ids.append(source[start : start + time + 1].astype(np.int64))
            own = (
                self.chat_weight[start + 1 : start + time + 1]
                if from_chat
                else np.ones(time, np.float32)
            )
            weights.append(own)
        return torch.from_numpy(np.stack(ids)), torch.from_numpy(np.stack(weights))
