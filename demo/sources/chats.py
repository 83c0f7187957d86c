"""Conversations without an image, as in ShareGPT, with true answers."""

import random
from typing import Final

from demo.annotations.questions import Exchange
from demo.drawing.album import seeded
from demo.drawing.ink import WORDS

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
        f'Here it is:\n{{"article": "{name}", "pieces": {amount}}}\nThe keys are up to you 🙂.',
    )


def _capital(rng: random.Random) -> Exchange:
    country, city = rng.choice(list(_CAPITALS.items()))
    return f"What is the capital of {country}?", f"The capital of {country} is {city}."


_TOPICS: Final = (_product, _program, _record, _capital)


def chat(*name: str | int) -> list[Exchange]:
    """Return one exchange in half of the conversations, up to eight in the others."""
    rng = seeded("chat", *name)
    length = 1 if rng.random() < 0.5 else rng.randint(2, 8)
    return [rng.choice(_TOPICS)(rng) for _ in range(length)]
