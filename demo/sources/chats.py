"""Conversations without an image, in ShareGPT's manner, whose answers are true."""

import random
from collections.abc import Callable
from typing import Final

from demo.annotations.questions import Exchange
from demo.drawing.album import seeded
from demo.drawing.ink import WORDS, listed

_CAPITALS: Final = {
    "France": "Paris",
    "Japan": "Tokyo (東京)",
    "Colombia": "Bogotá",
    "Kenya": "Nairobi",
    "Iceland": "Reykjavík",
    "Greece": "Athens (Αθήνα)",
    "Paraguay": "Asunción",
    "Canada": "Ottawa",
}


def _product(rng: random.Random) -> Exchange:
    one, other = rng.randint(12, 99), rng.randint(12, 99)
    tens = one * (other // 10 * 10)
    return (
        f"What is {one} times {other}? Please show how you get there.",
        f"Split {other} into {other // 10 * 10} and {other % 10}. Then {one} × "
        f"{other // 10 * 10} = {tens} and {one} × {other % 10} = {one * (other % 10)}. "
        f"Together that is {one * other}.",
    )


def _letters(rng: random.Random) -> Exchange:
    word = rng.choice(WORDS)
    vowels = sum(letter in "aeiou" for letter in word)
    return (
        f'How many letters does the word "{word}" have, and how many of them are vowels?',
        f'"{word}" has {len(word)} letters; {vowels} of them are vowels (a, e, i, o, u).',
    )


def _sorting(rng: random.Random) -> Exchange:
    words = rng.sample(WORDS, rng.randint(4, 7))
    lines = "\n".join(f"{place}. {word}" for place, word in enumerate(sorted(words), 1))
    return f"Put these words into alphabetical order: {', '.join(words)}.", lines


def _program(rng: random.Random) -> Exchange:
    power = rng.choice((2, 3, 4))
    low = rng.randint(1, 5)
    values = [n**power for n in range(low, low + 4)]
    return (
        f"Write a Python function that gives a list of the powers n**{power} from a to b.",
        f"```python\ndef powers(a, b):\n    return [n ** {power} for n in range(a, b + 1)]\n```\n"
        f"For example, `powers({low}, {low + 3})` returns `{values}`.",
    )


def _record(rng: random.Random) -> Exchange:
    name, amount = rng.choice(WORDS), rng.randint(2, 60)
    return (
        f"Can you write {amount} pieces of the article '{name}' as JSON?",
        f'Here it is:\n{{"article": "{name}", "pieces": {amount}}}\nThe keys are up to you.',
    )


def _degrees(rng: random.Random) -> Exchange:
    celsius = 5 * rng.randint(-4, 20)
    return (
        f"Convert {celsius} °C to Fahrenheit.",
        f"Multiply by 9/5 and add 32: {celsius} °C is {celsius * 9 // 5 + 32} °F.",
    )


def _capital(rng: random.Random) -> Exchange:
    country, city = rng.choice(list(_CAPITALS.items()))
    return f"What is the capital of {country}?", f"The capital of {country} is {city}."


def _initials(rng: random.Random) -> Exchange:
    words = rng.sample(WORDS, 4)
    initials = "".join(word[0].upper() for word in words)
    return (
        f"Which word do the first letters of {listed(words)} make?",
        f"They make {initials}, whether or not that is a word 🙂.",
    )


_TOPICS: Final[tuple[Callable[[random.Random], Exchange], ...]] = (
    *(_product, _letters, _sorting, _program, _record, _degrees, _capital, _initials),
)


def chat(*name: str | int) -> list[Exchange]:
    """One exchange in half of the conversations, up to eight in the others."""
    rng = seeded("chat", *name)
    length = 1 if rng.random() < 0.5 else rng.randint(2, 8)
    return [rng.choice(_TOPICS)(rng) for _ in range(length)]
