"""Planted records: their faults, their bytes and their expected outcomes."""

import textwrap
from collections.abc import Callable, Sequence
from itertools import product
from typing import Any, Final, NamedTuple

from demo.sources.archives import json_bytes
from imp_data.ledger import Outcome, Reason, Repair
from imp_data.manifests import Limits, Source, SubsetRule
from imp_data.records.layouts import LAYOUTS
from imp_data.records.rules import judge
from imp_data.sample import Draft, Row, content_hash, sample_id
from imp_data.storage.digests import xxh3_keys

# The draw's seed in manifests/mixtures/demo.yaml.
SEED: Final = 2405
# How a source tells its subsets, and the share of all draw keys that its quota surely reaches.
_DRAWN: Final[dict[str, tuple[SubsetRule, float]]] = {
    "llava_665k": ("mix665k", 0.9),
    "sharegpt4v": ("image_family", 0.12),
    "allava_instruct": ("allava", 0.35),
}
_CALLS: Final = ("", "Hello! ", "Please look closely. ", "I have a question. ", "One more thing: ")
_REASONS: Final = (
    "",
    "I cannot see well. ",
    "My friend asks me this. ",
    "This is for a quiz. ",
    "I would like to know. ",
    "Take your time. ",
    "Answer in your own words. ",
    "I am curious. ",
)


class Planted(NamedTuple):
    """A record with a trouble of its own, and its row in the ledger.

    `ordinal` is its place upstream, from 0; where it is None, no other row of the source has its
    `upstream_id`. A record that is kept has no reason; `repair` is what was mended in it.
    """

    what: str
    source: str
    ordinal: int | None
    upstream_id: str | None
    outcome: Outcome
    reason: Reason | None
    repair: Repair | None
    because: str


class Case(NamedTuple):
    """A planted record of LLaVA's layout.

    `fate` is None where it is kept as it is. `make` gives its bytes with these words before its
    first question. `subset` counts its Sample, None where the records stage lets none through.
    `copies` is how often the same bytes stand in the file.
    """

    what: str
    upstream_id: str | None
    fate: Reason | Repair | None
    because: str
    make: Callable[[str], bytes]
    subset: str | None = None
    images: Callable[[], dict[str, bytes]] = dict
    copies: int = 1

    def element(self, source: str) -> bytes:
        """Its bytes, worded so that the draw reaches it where its fate depends on that."""
        if self.subset is None:
            return self.make("")
        share = _DRAWN[source][1]
        for call, reason in product(_CALLS, _REASONS):
            made = self.make(call + reason)
            keys = xxh3_keys(SEED, _sample_ids(made, source, self.copies))
            if max(keys) < share * 2**64:
                return made
        raise ValueError(f"{self.what}: no wording is drawn early enough")

    def planted(self, source: str, ordinal: int) -> Planted:
        dropped = isinstance(self.fate, Reason)
        return Planted(
            self.what,
            source,
            ordinal,
            self.upstream_id,
            Outcome.DROPPED if dropped else Outcome.KEPT,
            self.fate if isinstance(self.fate, Reason) else None,
            self.fate if isinstance(self.fate, Repair) else None,
            self.because,
        )


def _sample_ids(element: bytes, source: str, copies: int) -> list[str]:
    manifest = Source(
        name=source,
        title="",
        homepage="",
        license="",
        layout="llava",
        subsets=_DRAWN[source][0],
        records=("records.json",),
    )
    (draft,) = LAYOUTS["llava"].assemble([Row(0, None, raw=element)], manifest)
    assert isinstance(draft, Draft) and judge(draft, Limits()) is None, element[:200]
    content = content_hash(source, draft.upstream_id, draft.image, draft.turns)
    return [sample_id(source, content, time) for time in range(1, copies + 1)]


def indented(record: Any) -> bytes:
    """A record as it stands in an array that was written with two spaces an indent."""
    return textwrap.indent(json_bytes(record, indent=2).decode(), "  ").encode()


def places(clean: int, cases: int) -> list[int]:
    """Where planted records come to stand when they are spread over a file of clean ones."""
    step = clean // (cases + 1)
    return [(n + 1) * step + n for n in range(cases)]


def spread(clean: Sequence[bytes], planted: Sequence[bytes]) -> list[bytes]:
    """The elements of a file, the planted ones at their places."""
    elements = list(clean)
    for place, element in zip(places(len(clean), len(planted)), planted, strict=True):
        elements.insert(place, element)
    return elements
