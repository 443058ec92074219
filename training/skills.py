"""Questions whose answers can be checked, with worked steps in which each step is a look-up or a copy."""

import hashlib
import random
from dataclasses import dataclass
from typing import Callable

Random = random.Random


@dataclass(frozen=True)
class Question:
    """`key` names the facts asked for, however they are worded; whole keys are held out."""

    skill: str
    key: str
    text: str
    steps: str
    answer: str
    can_hold_out: bool = True


def held_out(key: str) -> bool:
    """One key in ten, by hash, is never trained on."""
    return hashlib.sha256(key.encode()).digest()[0] < 26


# Arithmetic: numbers are padded to one width, so that a digit's place is its distance from the sign.


def number(r: Random, digits: int) -> int:
    return r.randint(0 if digits == 1 else 10 ** (digits - 1), 10**digits - 1)


def pair(r: Random) -> tuple[int, int, int]:
    """The longer number's digits, then two numbers in either order."""
    digits = r.choice([1, 2, 2, 2, 3])
    a, b = number(r, digits), number(r, r.choice([digits, digits, r.randint(1, digits)]))
    return (digits, a, b) if r.random() < 0.5 else (digits, b, a)


def padded(a: int, b: int) -> tuple[str, str]:
    width = max(len(str(a)), len(str(b)))
    return str(a).zfill(width), str(b).zfill(width)


def addition_steps(a: int, b: int) -> str:
    """Column by column from the right; each line ends with the answer's digits so far."""
    x, y = padded(a, b)
    lines, carry, result = [f"{x}+{y}"], 0, ""
    for i in reversed(range(len(x))):
        total = int(x[i]) + int(y[i]) + carry
        result = (str(total) if i == 0 else str(total % 10)) + result
        lines.append(f"{x[i]}+{y[i]}+{carry}={total}, {result}")
        carry = total // 10
    return "\n".join([*lines, f"={a + b}"])


def leading_digits(x: str, y: str) -> list[str]:
    """Compares padded numbers from the left until two digits differ."""
    lines = []
    for p, q in zip(x, y):
        lines.append(f"{p}{'=' if p == q else '<' if p < q else '>'}{q}")
        if p != q:
            break
    return lines


def subtraction_steps(a: int, b: int) -> str:
    """The larger minus the smaller, column by column; a column that borrows shows its ten."""
    x, y = padded(a, b)
    lines = [f"{x}-{y}", *leading_digits(x, y)]
    if a < b:
        x, y = y, x
        lines.append(f"-({x}-{y})")
    else:
        lines.append(f"{x}-{y}")
    borrow, result = 0, ""
    for i in reversed(range(len(x))):
        difference = int(x[i]) - int(y[i]) - borrow
        result = f"{difference % 10}{result}"
        lines.append(
            f"{'1' if difference < 0 else ''}{x[i]}-{y[i]}-{borrow}={difference % 10}, {result}"
        )
        borrow = int(difference < 0)
    return "\n".join([*lines, f"={a - b}"])


ADDITION = [
    "What is {a} + {b}?",
    "What is {a}+{b}?",
    "{a}+{b}=",
    "{a} + {b}",
    "{a} + {b} = ?",
    "Compute {a} plus {b}.",
    "What is {a} plus {b}?",
    "Add {a} and {b}.",
    "How much is {a}+{b}?",
    "What's {a} + {b}?",
    "Calculate {a} + {b}.",
    "What is the sum of {a} and {b}?",
    "I have {a} apples and get {b} more. How many apples do I have?",
]
SUBTRACTION = [
    "What is {a} - {b}?",
    "What is {a}-{b}?",
    "{a}-{b}=",
    "{a} - {b}",
    "{a} - {b} = ?",
    "Compute {a} minus {b}.",
    "What is {a} minus {b}?",
    "Subtract {b} from {a}.",
    "How much is {a}-{b}?",
    "What's {a} - {b}?",
    "Calculate {a} - {b}.",
]


def addition(r: Random) -> Question:
    digits, a, b = pair(r)
    text = r.choice(ADDITION).format(a=a, b=b)
    return Question(
        f"add{digits}", f"{min(a, b)}+{max(a, b)}", text, addition_steps(a, b), str(a + b)
    )


def subtraction(r: Random) -> Question:
    digits, a, b = pair(r)
    if a < b and r.random() < 0.4:
        a, b = b, a
    text = r.choice(SUBTRACTION).format(a=a, b=b)
    if a >= b and r.random() < 0.08:
        text = f"I have {a} apples and eat {b}. How many are left?"
    return Question(f"sub{digits}", f"{a}-{b}", text, subtraction_steps(a, b), str(a - b))


COMPARISON = [
    "Which is larger, {a} or {b}?",
    "Which number is bigger: {a} or {b}?",
    "Is {a} greater than {b}?",
]


def comparison(r: Random) -> Question:
    digits = r.choice([1, 2, 3])
    a, b = number(r, digits), number(r, r.choice([digits, r.randint(1, 3)]))
    wording = r.choice(COMPARISON)
    sign = "=" if a == b else ">" if a > b else "<"
    x, y = padded(a, b)
    steps = "\n".join([f"{x} {y}", *leading_digits(x, y), f"{a}{sign}{b}"])
    if wording.startswith("Is"):
        answer = "Yes" if a > b else "No"
    else:
        answer = "They are equal" if a == b else str(max(a, b))
    return Question("compare", f"{min(a, b)}?{max(a, b)}", wording.format(a=a, b=b), steps, answer)


# Words: spelled out, because the model sees tokens and not letters.

words: list[str] = []  # common words of the training stories, set by whoever asks for questions

COUNT = [
    "How many times does the letter {c} appear in {w}?",
    "How many {c}'s are in {w}?",
    "Count the letter {c} in {w}.",
    'How many letters {c} are in the word "{w}"?',
]
REVERSE = ["Reverse the word {w}.", "Spell {w} backwards.", "What is {w} backwards?"]
SORT = ["Sort these words: {}", "Put these words in alphabetical order: {}"]


def count_letters(r: Random) -> Question:
    word = r.choice(words)
    letter = r.choice(word) if r.random() < 0.85 else r.choice("abcdefghijklmnopqrstuvwxyz")
    counts = [f"{c}{word[: i + 1].count(letter)}" for i, c in enumerate(word)]
    steps = f"{letter} in {word}\n" + " ".join(counts)
    text = r.choice(COUNT).format(c=letter, w=word)
    return Question("count", f"count {letter} {word}", text, steps, str(word.count(letter)))


def reverse(r: Random) -> Question:
    word = r.choice(words)
    places = [f"{i + 1}{c}" for i, c in enumerate(word)]
    steps = " ".join(places) + "\n" + " ".join(reversed(places))
    return Question(
        "reverse", f"reverse {word}", r.choice(REVERSE).format(w=word), steps, word[::-1]
    )


def sort_words(r: Random) -> Question:
    chosen = r.sample(words, r.choice([3, 3, 4, 5]))
    text = r.choice(SORT).format(", ".join(chosen) + ("." if r.random() < 0.3 else ""))
    spelled = lambda word: f"{word[0]} {word[1]} {word}"
    steps = "\n".join(", ".join(map(spelled, some)) for some in (chosen, sorted(chosen)))
    return Question(
        "sort", "sort " + " ".join(sorted(chosen)), text, steps, ", ".join(sorted(chosen))
    )


# Facts about time and measures.

DAYS = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split()
MONTHS = {
    "January": "31",
    "February": "28, or 29 in a leap year",
    "March": "31",
    "April": "30",
    "May": "31",
    "June": "30",
    "July": "31",
    "August": "31",
    "September": "30",
    "October": "31",
    "November": "30",
    "December": "31",
}
UNITS = [
    ("meters", "centimeters", 100),
    ("kilometers", "meters", 1000),
    ("kilograms", "grams", 1000),
    ("hours", "minutes", 60),
    ("minutes", "seconds", 60),
    ("days", "hours", 24),
    ("weeks", "days", 7),
    ("feet", "inches", 12),
    ("years", "months", 12),
    ("dozen", "eggs", 12),
]


def weekday(r: Random) -> Question:
    start, n = r.randrange(7), r.randint(1, 20)
    day = DAYS[start]
    text = r.choice(
        [f"What day is {n} days after {day}?", f"If today is {day}, what day is it in {n} days?"]
    )
    steps = [f"{n} mod 7 = {n % 7}", *(f"{i} {DAYS[(start + i) % 7]}" for i in range(n % 7 + 1))]
    return Question("weekday", f"{day}+{n}", text, "\n".join(steps), DAYS[(start + n) % 7])


def month(r: Random) -> Question:
    """Twelve months leave nothing to generalise from, so none is held out."""
    names = list(MONTHS)
    i = r.randrange(12)
    name = names[i]
    if r.random() < 0.5:
        text = r.choice([f"How many days are in {name}?", f"How many days does {name} have?"])
        return Question(
            "month", f"days {name}", text, f"{name} {MONTHS[name][:2]}", MONTHS[name], False
        )
    where = r.choice(["after", "before"])
    other = (i + (1 if where == "after" else -1)) % 12
    steps = f"{name} is month {i + 1}, {where} it is month {other + 1}"
    return Question(
        "month", f"{where} {name}", f"Which month comes {where} {name}?", steps, names[other], False
    )


def units(r: Random) -> Question:
    big, small, factor = r.choice(UNITS)
    n = r.randint(1, 20)
    text = r.choice(
        [
            f"How many {small} are in {n} {big}?",
            f"Convert {n} {big} to {small}.",
            f"{n} {big} in {small}?",
        ]
    )
    steps = [f"1 {big} = {factor} {small}"]
    if n >= 10:
        tens, ones = n - n % 10, n % 10
        steps += [f"{tens} x {factor} = {tens * factor}", f"{ones} x {factor} = {ones * factor}"]
    steps.append(f"{n} x {factor} = {n * factor}")
    return Question("units", f"{n} {big} {small}", text, "\n".join(steps), f"{n * factor} {small}")


GENERATORS: dict[str, Callable[[Random], Question]] = {
    "addition": addition,
    "subtraction": subtraction,
    "comparison": comparison,
    "count_letters": count_letters,
    "reverse": reverse,
    "sort_words": sort_words,
    "weekday": weekday,
    "month": month,
    "units": units,
}
SHARES = {
    "addition": 28,
    "subtraction": 32,
    "comparison": 6,
    "count_letters": 9,
    "reverse": 9,
    "sort_words": 7,
    "weekday": 5,
    "month": 2,
    "units": 5,
}


def question(r: Random, shares: dict[str, float] = SHARES, held: bool = False) -> Question:
    """A question whose key is held out, or one whose key is not."""
    while True:
        generator = GENERATORS[r.choices(list(shares), list(shares.values()))[0]]
        asked = generator(r)
        if (asked.can_hold_out and held_out(asked.key)) == held:
            return asked


IDENTITY = [
    ("Who are you?", "I am calf, a tiny model that comes with DaySix."),
    ("What are you?", "I am calf, a very small language model that comes with DaySix."),
    ("What is your name?", "My name is calf."),
    ("Hello!", "Hello! How can I help you?"),
    ("Hello", "Hello! How can I help you?"),
    ("Hi", "Hi! What would you like to know?"),
    (
        "What can you do?",
        "I can add and subtract, count letters, reverse and sort words, and chat a little.",
    ),
    ("Thank you!", "You are welcome!"),
    (
        "What is DaySix?",
        "DaySix is a server for models of the DeepSeek-V3 architecture. I come with it.",
    ),
    ("Are you a human?", "No, I am calf, a very small language model."),
    ("Goodbye", "Goodbye!"),
    ("How are you?", "I am fine, thank you. How are you?"),
]
IDENTITY_STEPS = "A greeting or a question about me."
