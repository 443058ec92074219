"""Conversations as token ids, in the shape of DeepSeek-V3.1's template."""

from tokenizers import Tokenizer

BEGIN, END, PAD, USER, ASSISTANT, THINK, END_THINK = range(7)


def encode(tokenizer: Tokenizer, text: str) -> list[int]:
    return tokenizer.encode(text, add_special_tokens=False).ids


def spell(tokenizer: Tokenizer, word: str) -> list[int]:
    """One token a letter: the same text as `encode`, in steps small enough to copy."""
    return [tokenizer.token_to_id(c) for c in word]


def user_turn(tokenizer: Tokenizer, text: str) -> list[int]:
    return [USER, *encode(tokenizer, text)]


def opening(thinking: bool) -> list[int]:
    """What the server writes before the model's own first token."""
    return [ASSISTANT, THINK if thinking else END_THINK]


def prompt(tokenizer: Tokenizer, text: str, thinking: bool) -> list[int]:
    return [BEGIN, *user_turn(tokenizer, text), *opening(thinking)]


def conversation(
    tokenizer: Tokenizer, messages: list[dict[str, str]]
) -> tuple[list[int], list[bool]]:
    """Token ids, and which of them the assistant writes; nothing is thought aloud."""
    ids, own = [BEGIN], [False]
    for message in messages:
        content = encode(tokenizer, message["content"])
        if message["role"] == "assistant":
            before, written = opening(False), [*content, END]
        else:
            before, written = [USER, *content] if message["role"] == "user" else content, []
        ids += before + written
        own += [False] * len(before) + [True] * len(written)
    return ids, own
