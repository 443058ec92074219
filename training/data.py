"""Writes the training arrays, the held-out texts and the word list of the skills."""

import argparse
import json
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

import chat
import corpus


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--corpus", type=Path, required=True, help="folder with stories/ and chat/")
    parser.add_argument("--tokenizer", type=Path, required=True, help="tokenizer.json")
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    out = arguments.out
    out.mkdir(parents=True, exist_ok=True)
    tokenizer = Tokenizer.from_file(str(arguments.tokenizer))
    stories, held_stories = corpus.stories(arguments.corpus)
    chats, held_chats = corpus.conversations(arguments.corpus)
    (out / "words.json").write_text(json.dumps(corpus.common_words(stories)))
    (out / "held.json").write_text(json.dumps({"stories": held_stories, "chat": held_chats}))
    encoded = tokenizer.encode_batch(stories, add_special_tokens=False)
    story_ids = np.concatenate(
        [np.array([chat.BEGIN, *e.ids, chat.END], np.int16) for e in encoded]
    )
    turns = [chat.conversation(tokenizer, messages) for messages in chats]
    chat_ids = np.concatenate([np.array(ids, np.int16) for ids, _ in turns])
    chat_own = np.concatenate([np.array(own, bool) for _, own in turns])
    np.savez(out / "tokens.npz", stories=story_ids, chat=chat_ids, chat_own=chat_own)
    print(f"stories {len(stories)} ({len(story_ids)} tokens), held out {len(held_stories)}")
    print(f"chats {len(chats)} ({len(chat_ids)} tokens), held out {len(held_chats)}")


if __name__ == "__main__":
    main()
