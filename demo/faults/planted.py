"""Planted records: their faults, their bytes and their expected outcomes."""

import re
import textwrap
from collections.abc import Callable, Sequence
from itertools import count
from typing import Any, Final, NamedTuple

from demo.sources.archives import json_bytes
from imp_data.ledger import Outcome, Reason, Repair
from imp_data.manifests import Limits, Source
from imp_data.records.all_layouts import LAYOUTS
from imp_data.records.rules import repair_and_check
from imp_data.sample import Draft, UpstreamRecord, content_hash, sample_id
from imp_data.storage.digests import xxh3_keys

Result = Reason | Repair | None
# The sampling seed in manifests/mixtures/demo.yaml.
SEED: Final = 2405
# Share of all sampling keys that the quota of a source certainly reaches.
_SAMPLED_SHARE: Final = {"llava_665k": 0.9, "sharegpt4v": 0.12, "allava_instruct": 0.35}
_FIRST_QUESTION: Final = re.compile(rb'"human",\s+"value": "(?:<image>\\n)?')


class Planted(NamedTuple):
    """A record with a fault, and its expected row in the ledger.

    `ordinal` is its upstream position, from 0; if None, `upstream_id` is unique in the source. A
    kept record has no reason; `repair` is the expected repair.
    """

    what: str
    source: str
    ordinal: int | None
    upstream_id: str | None
    reason: Reason | None = None
    repair: Repair | None = None

    @property
    def outcome(self) -> Outcome:
        return Outcome.DROPPED if self.reason else Outcome.KEPT


class Case(NamedTuple):
    """A planted record of LLaVA's layout.

    `result` is the reason to drop it, its repair, or None if it is kept unchanged. `make` returns
    its bytes, which the file contains `copies` times. `subset` counts its Sample; it is None if the
    records stage drops the record.
    """

    what: str
    upstream_id: str | None
    result: Result
    make: Callable[[], bytes]
    subset: str | None = None
    images: Callable[[], dict[str, bytes]] = dict
    copies: int = 1

    def element(self, source: str) -> bytes:
        """Return its bytes, its first question numbered so that the quota reaches its Sample."""
        element = self.make()
        if self.subset is None:
            return element
        for number in count(1):
            worded = _FIRST_QUESTION.sub(rb"\g<0>Question %d: " % number, element, count=1)
            keys = xxh3_keys(SEED, _sample_ids(worded, source, self.copies))
            if max(keys) < _SAMPLED_SHARE[source] * 2**64:
                return worded
        raise AssertionError("count() does not end")

    def planted(self, source: str, ordinal: int) -> Planted:
        reason = self.result if isinstance(self.result, Reason) else None
        repair = self.result if isinstance(self.result, Repair) else None
        return Planted(self.what, source, ordinal, self.upstream_id, reason, repair)


def _sample_ids(element: bytes, source: str, copies: int) -> list[str]:
    published = {"name": source, "title": "", "homepage": "", "license": ""}
    manifest = Source(**published, layout="llava", records=("records.json",))
    (draft,) = LAYOUTS["llava"].assemble([UpstreamRecord(0, None, raw=element)], manifest)
    # `repair_and_check` applies the repairs, which change the content.
    assert isinstance(draft, Draft) and repair_and_check(draft, Limits()) is None, element[:200]
    content = content_hash(source, draft.upstream_id, draft.images, draft.turns)
    return [sample_id(source, content, copy) for copy in range(1, copies + 1)]


def indented(record: Any) -> bytes:
    """Encode a record as an element of an array written with two spaces of indentation."""
    return textwrap.indent(json_bytes(record, indent=2).decode(), "  ").encode()


def with_raw_newline(element: bytes, text: str) -> bytes:
    """Replace the first space of a text in an encoded record by an unescaped line break."""
    encoded = json_bytes(text)[1:-1]
    assert encoded in element, text
    return element.replace(encoded, encoded.replace(b" ", b"\n", 1), 1)


def positions(clean: int, cases: int) -> list[int]:
    """Return the ordinals of planted records spread over a file of clean ones."""
    step = clean // (cases + 1)
    return [(n + 1) * step + n for n in range(cases)]


def spread(clean: Sequence[bytes], cases: Sequence[Case], source: str) -> list[bytes]:
    """Return the elements of a file with the planted ones at their positions."""
    elements = list(clean)
    for position, case in zip(positions(len(clean), len(cases)), cases, strict=True):
        elements.insert(position, case.element(source))
    return elements
