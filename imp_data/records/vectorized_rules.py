"""The rules asked of many Drafts at once: which of them certainly pass.

Each test holds for every Draft that the rule in `rules` objects to or mends, and for as few others
as is cheap; those are then judged one by one. The image's token is moved here as it is there.
"""

import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from imp_data.manifests import Limits
from imp_data.records.layouts.columnar import Plain
from imp_data.records.layouts.llava import REGION_SUBSETS
from imp_data.records.rules import says_nothing, with_token_first
from imp_data.sample import IMAGE_TOKEN
from imp_data.storage.image_paths import leads_outside, normal_path

Mask = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]
Octets = npt.NDArray[np.uint8]

_TOKEN = IMAGE_TOKEN.encode()
_OPENING = np.frombuffer(_TOKEN + b"\n", np.uint8)
_CONTROLS = bytes({*range(32), 127} - {*b"\t\n\r"})
_NO_CONTROLS = bytes({*range(256)} - {*_CONTROLS})
_IS_CONTROL = np.isin(np.arange(256), list(_CONTROLS))
_C1_LEAD, _C1_LAST = 0xC2, 0x9F  # U+0080 to U+009F are C2 80 to C2 9F in UTF-8
# A box as LLaVA writes it. Of other forms each is looked at by itself.
_BOX = np.frombuffer(b"[0.00, 0.00, 0.00, 0.00]", np.uint8)
_DIGITS = np.array([3, 4, 9, 10, 15, 16, 21, 22])
_FIXED = np.setdiff1d(np.arange(len(_BOX)), _DIGITS)
# Where none of these is in any path, as lines of one text, no path leads outside, and each is in
# its normal form.
_SUSPICIOUS = (
    *("\\", "\0", "//", "\n/", "/\n", "\n\n", "..", ":"),
    *("./", "/.\n", "\n ", " \n", "\t", "\r", "\v", "\f"),
)


class Sifted(NamedTuple):
    """The Drafts' texts, which Drafts are in doubt, and {Draft: text} before a token was moved.

    What stands here of a Draft in doubt is of no use.
    """

    texts: pa.StringArray
    doubtful: Mask
    moved: dict[int, str]


def sifted(plain: Plain, limits: Limits) -> Sifted:
    """Move the token to the front where it is not, and find the Drafts that need a closer look."""
    firsts = np.cumsum(plain.counts) - plain.counts
    imaged = np.array([image is not None for image in plain.images], np.bool_)
    region = np.array([subset in REGION_SUBSETS for subset in plain.subsets], np.bool_)
    moved = _move_tokens(plain.texts, firsts[imaged], np.flatnonzero(imaged))
    texts = pa.array(plain.texts, pa.string())
    held = _held(texts, firsts)
    doubtful = (plain.counts > limits.max_turns) | (held.sizes() > limits.max_characters)
    doubtful |= held.at(_controls(held)) | _misplaced_tokens(held, imaged)
    doubtful |= _odd_boxes(held, region) | held.of(_silent(held, plain.texts, imaged))
    return Sifted(texts, doubtful | _odd_paths(plain.images), moved)


def _move_tokens(texts: list[str], firsts: Ints, drafts: Ints) -> dict[int, str]:
    """In the first question alone; a token that stands in a later one puts its Draft in doubt."""
    moved: dict[int, str] = {}
    for place, draft in zip(firsts.tolist(), drafts.tolist(), strict=True):
        text = texts[place]
        if not text.startswith(f"{IMAGE_TOKEN}\n") and IMAGE_TOKEN in text:
            moved[draft] = text
            texts[place] = with_token_first(text)
    return moved


class _Held(NamedTuple):
    """All texts as UTF-8: text n is data[bounds[n] : bounds[n + 1]], `firsts` those of Drafts."""

    data: bytes
    octets: Octets
    bounds: Ints
    firsts: Ints

    def sizes(self) -> Ints:
        """Of each Draft, in bytes."""
        sizes: Ints = np.diff(self.bounds[np.append(self.firsts, len(self.bounds) - 1)])
        return sizes

    def of(self, texts: Ints) -> Mask:
        """The Drafts that these texts are of."""
        found = np.zeros(len(self.firsts), np.bool_)
        found[np.searchsorted(self.firsts, texts, side="right") - 1] = True
        return found

    def at(self, places: Ints) -> Mask:
        """The Drafts in which these bytes are."""
        found = np.zeros(len(self.firsts), np.bool_)
        found[self.drafts(places)] = True
        return found

    def drafts(self, places: Ints) -> Ints:
        """The Draft that each of these bytes is in."""
        drafts: Ints = np.searchsorted(self.bounds[self.firsts], places, side="right") - 1
        return drafts

    def spans(self, places: Ints, size: int) -> Octets:
        """So many bytes from each place on; past the end of all the last one."""
        return self.octet_at(places[:, None] + np.arange(size))

    def octet_at(self, places: Ints) -> Octets:
        """The byte at each place; past the end of all the last one."""
        found: Octets = self.octets[np.minimum(places, len(self.octets) - 1)]
        return found


def _held(texts: pa.StringArray, firsts: Ints) -> _Held:
    _, bounds, buffer = texts.buffers()
    data = buffer.to_pybytes() if buffer else b""
    offsets = np.frombuffer(bounds, np.int32, len(texts) + 1).astype(np.int64)
    octets = np.frombuffer(data or b"\0", np.uint8)  # there is always a byte to look at
    return _Held(data, octets, offsets, firsts)


def _controls(held: _Held) -> Ints:
    """Where control characters are."""
    found = np.zeros(0, np.int64)
    if held.data.translate(None, _NO_CONTROLS):
        found = np.flatnonzero(_IS_CONTROL[held.octets])
    if _C1_LEAD in held.data:
        leads = np.flatnonzero(held.octets == _C1_LEAD)
        found = np.append(found, leads[held.octets[leads + 1] <= _C1_LAST])
    return found


def _misplaced_tokens(held: _Held, imaged: Mask) -> Mask:
    """Drafts without the token in front of the first question, or with it elsewhere."""
    begins = held.bounds[held.firsts]
    long_enough = held.bounds[held.firsts + 1] - begins >= len(_OPENING)
    in_front = (held.spans(begins, len(_OPENING)) == _OPENING).all(axis=1) & long_enough
    if held.data.count(_TOKEN) == imaged.sum() and np.array_equal(in_front, imaged):
        return np.zeros(len(imaged), np.bool_)
    places = np.array([match.start() for match in re.finditer(_TOKEN, held.data)], np.int64)
    times = np.bincount(held.drafts(places), minlength=len(imaged))
    wrong: Mask = (times != imaged) | (in_front != imaged)
    return wrong


def _silent(held: _Held, texts: list[str], imaged: Mask) -> Ints:
    """Texts that say nothing, as far as they are not in doubt for their token."""
    begins, ends = held.bounds[:-1].copy(), held.bounds[1:]
    begins[held.firsts[imaged]] += len(_OPENING)
    begins = np.minimum(begins, ends)
    octets = held.octet_at(begins)
    # A visible character of ASCII says something; whatever else it begins with is looked at.
    unclear = np.flatnonzero((octets <= 0x20) | (octets >= 0x7F) | (begins == ends))
    return np.array([n for n in unclear.tolist() if says_nothing(texts[n])], np.int64)


def _odd_boxes(held: _Held, region: Mask) -> Mask:
    """Drafts about regions with a bracket that does not open a box in LLaVA's form and bounds."""
    found = np.zeros(len(region), np.bool_)
    if not region.any():
        return found
    places = np.flatnonzero(held.octets == ord("["))
    places = places[region[held.drafts(places)]]
    spans = held.spans(places, len(_BOX))
    digits = spans[:, _DIGITS].astype(np.int64) - ord("0")
    form = (spans[:, _FIXED] == _BOX[_FIXED]).all(axis=1)
    form &= ((digits >= 0) & (digits <= 9)).all(axis=1)
    left, top, right, bottom = (digits[:, n] * 10 + digits[:, n + 1] for n in (0, 2, 4, 6))
    return found | held.at(places[~(form & (left < right) & (top < bottom))])


def _odd_paths(images: Sequence[str | None]) -> Mask:
    """Drafts whose image's path leads outside, or has another normal form."""
    paths = "\n".join(image for image in images if image is not None)
    lines = f"\n{paths}\n" if paths or "" in images else ""
    if not any(sign in lines for sign in _SUSPICIOUS):
        return np.zeros(len(images), np.bool_)
    return np.array([i is not None and _is_odd(i) for i in images], np.bool_)


def _is_odd(path: str) -> bool:
    return leads_outside(path) or normal_path(path) != path
