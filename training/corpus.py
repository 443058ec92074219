"""The corpus as documents and conversations, split into training and held-out parts by title."""

import hashlib
import json
import re
from collections import Counter
from pathlib import Path

END = "<|endoftext|>"
# These files are passages in the order of their books, without titles: neighbours are held out together.
UNTITLED_BOOKS = {"gutenberg-children.txt"}
BOOK_RUN = 24
# Questions about stories need the story in the prompt, which a model this small cannot use.
UNUSED_CHATS = {"fairytaleqa-qa.jsonl"}
SHARED_WORDS = 8
SHARED_RUNS_ALLOWED = 20

Conversation = list[dict[str, str]]


def hashed_out(key: str, per_256: int = 8) -> bool:
    return hashlib.sha256(key.encode()).digest()[0] < per_256


def title(document: str) -> str:
    """The first line, which is the title where there is one; one tale under two titles is caught below."""
    return re.sub(r"[^a-z0-9 ]", "", document.split("\n", 1)[0].lower()).strip()


def runs(document: str) -> set[int]:
    """Hashes of every run of eight words."""
    words = re.findall(r"[a-z]+", document.lower())
    return {hash(tuple(words[i : i + SHARED_WORDS])) for i in range(len(words) - SHARED_WORDS + 1)}


def stories(corpus: Path) -> tuple[list[str], list[str]]:
    """Training and held-out stories; training stories that repeat a held-out one are dropped."""
    train, held = [], []
    for file in sorted((corpus / "stories").iterdir()):
        for i, document in enumerate(file.read_text().split(END)):
            document = document.strip()
            if not document:
                continue
            key = f"{file.name} {i // BOOK_RUN}" if file.name in UNTITLED_BOOKS else title(document)
            (held if hashed_out(key) else train).append(document)
    held_runs = set().union(*map(runs, held))
    return [d for d in train if len(runs(d) & held_runs) <= SHARED_RUNS_ALLOWED], held


def conversations(corpus: Path) -> tuple[list[Conversation], list[Conversation]]:
    """Training and held-out conversations, split by their first message."""
    train, held = [], []
    for file in sorted((corpus / "chat").iterdir()):
        if file.name in UNUSED_CHATS:
            continue
        for line in file.read_text().splitlines():
            messages = json.loads(line)["messages"]
            (held if hashed_out(messages[0]["content"]) else train).append(messages)
    return train, held


def common_words(documents: list[str], count: int = 2500) -> list[str]:
    found = Counter(word for d in documents for word in re.findall(r"\b[a-z]{3,9}\b", d))
    return [word for word, _ in found.most_common(count)]
