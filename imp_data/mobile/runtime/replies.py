"""What llama.cpp's server answers."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple


class Step(NamedTuple):
    """A generated token and the log-probabilities of the likeliest ones at its place."""

    position: int
    token: int
    logprobs: dict[int, float]


class Reply(NamedTuple):
    """What was generated, and how long it took, as llama.cpp tells it."""

    text: str
    tokens: list[int]
    steps: list[Step]
    timings: dict[str, float]


def parse_steps(tokens: Sequence[int], probabilities: Sequence[dict[str, Any]]) -> Iterator[Step]:
    """The tokens of an answer with what llama.cpp tells of them.

    It gives a token that ends inside a character no entry: its bytes lead the next one's. So an
    entry with more bytes than its token has belongs to a later place.
    """
    place = 0
    for entry in probabilities:
        likeliest = {one["id"]: one for one in entry["top_logprobs"]}
        own = likeliest.get(entry["id"], entry)
        place += len(entry["bytes"]) > len(own["bytes"])
        while place < len(tokens) and tokens[place] != entry["id"]:
            place += 1
        yield Step(place, entry["id"], {i: one["logprob"] for i, one in likeliest.items()})
        place += 1
