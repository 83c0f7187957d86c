"""Parse the answers of llama.cpp's server."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple


class Step(NamedTuple):
    """A generated token and the log-probabilities of the most likely tokens at its position."""

    position: int
    token: int
    logprobs: dict[int, float]


class Reply(NamedTuple):
    """An answer with its tokens, and llama.cpp's timings."""

    text: str
    tokens: list[int]
    steps: list[Step]
    timings: dict[str, float]


def parse_steps(tokens: Sequence[int], probabilities: Sequence[dict[str, Any]]) -> Iterator[Step]:
    """Yield the tokens of an answer with llama.cpp's log-probabilities.

    llama.cpp writes no entry for a token that ends inside a character; its bytes precede those of
    the next entry. An entry with more bytes than its token therefore belongs to a later position.
    """
    position = 0
    for entry in probabilities:
        likeliest = {one["id"]: one for one in entry["top_logprobs"]}
        own = likeliest.get(entry["id"], entry)
        position += len(entry["bytes"]) > len(own["bytes"])
        while position < len(tokens) and tokens[position] != entry["id"]:
            position += 1
        yield Step(position, entry["id"], {i: one["logprob"] for i, one in likeliest.items()})
        position += 1
