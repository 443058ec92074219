"""Asks a running server held-out arithmetic and counts the exact answers."""

import argparse
import json
import random
import urllib.request
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import skills

WANTED = ("add1", "add2", "sub1", "sub2")


def ask(server: str, model: str, text: str, thinking: bool) -> str:
    body = {
        "model": model,
        "messages": [{"role": "user", "content": text}],
        "temperature": 0,
        "max_tokens": 200,
        "chat_template_kwargs": {"thinking": thinking},
    }
    headers = {"content-type": "application/json"}
    request = urllib.request.Request(
        f"{server}/v1/chat/completions", json.dumps(body).encode(), headers
    )
    with urllib.request.urlopen(request, timeout=600) as response:
        return json.load(response)["choices"][0]["message"]["content"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--server", required=True, help="http://127.0.0.1:8000")
    parser.add_argument("--model", default="calf")
    parser.add_argument("--questions", type=int, default=120)
    parser.add_argument("--direct", action="store_true", help="without thinking")
    parser.add_argument("--seed", type=int, default=11)
    arguments = parser.parse_args()
    r = random.Random(arguments.seed)
    asked: dict[str, skills.Question] = {}
    while len(asked) < arguments.questions:
        question = skills.question(r, {"addition": 1, "subtraction": 1}, held=True)
        if question.skill in WANTED:
            asked[question.text] = question
    questions = list(asked.values())
    with ThreadPoolExecutor(16) as pool:
        answer = lambda q: ask(arguments.server, arguments.model, q.text, not arguments.direct)
        answers = list(pool.map(answer, questions))
    right, total = Counter(), Counter(q.skill for q in questions)
    for q, written in zip(questions, answers):
        right[q.skill] += written == q.answer
        if written != q.answer:
            print(f"wrong: {q.text} wrote {written!r}, wanted {q.answer!r}")
    print(
        {skill: f"{right[skill]}/{total[skill]}" for skill in sorted(total)},
        f"all {right.total()}/{len(questions)}",
    )


if __name__ == "__main__":
    main()
