"""Apply the rules to many Drafts at once, to find those that certainly pass.

Each test marks every Draft that its rule in `rules` rejects or repairs, and few others; marked
Drafts then go through the rules one by one. The image token is moved here as it is there.
"""

import re
from collections.abc import Sequence
from itertools import chain
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from imp_data.manifests import Limits
from imp_data.records.layouts.columnar import DraftColumns
from imp_data.records.layouts.subsets import REGION_SUBSETS
from imp_data.records.rules import is_blank, put_token_first
from imp_data.sample import IMAGE_TOKEN
from imp_data.storage.image_paths import leads_outside, normalize_path

Mask = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]
Octets = npt.NDArray[np.uint8]

_TOKEN = IMAGE_TOKEN.encode()
_OPENING = np.frombuffer(_TOKEN + b"\n", np.uint8)
_CONTROLS = bytes({*range(32), 127} - {*b"\t\n\r"})
_NO_CONTROLS = bytes({*range(256)} - {*_CONTROLS})
_IS_CONTROL = np.isin(np.arange(256), list(_CONTROLS))
_C1_LEAD, _C1_LAST = 0xC2, 0x9F  # U+0080 to U+009F are C2 80 to C2 9F in UTF-8
# A box as LLaVA writes it. A Draft with a box in another form is in doubt.
_BOX = np.frombuffer(b"[0.00, 0.00, 0.00, 0.00]", np.uint8)
_DIGITS = np.array([3, 4, 9, 10, 15, 16, 21, 22])
_FIXED = np.setdiff1d(np.arange(len(_BOX)), _DIGITS)
# If no path contains any of these (paths joined as lines of one text), no path leads outside
# and all are in their normal form.
_SUSPICIOUS = (
    *("\\", "\0", "//", "\n/", "/\n", "\n\n", "..", ":"),
    *("./", "/.\n", "\n ", " \n", "\t", "\r", "\v", "\f"),
)


class CheckedDrafts(NamedTuple):
    """Texts of the Drafts, a mask of Drafts in doubt, and {Draft: text before its token moved}.

    Entries of a Draft in doubt must not be used.
    """

    texts: pa.StringArray
    doubtful: Mask
    moved: dict[int, str]


def check_drafts(drafts: DraftColumns, limits: Limits, max_images: int = 1) -> CheckedDrafts:
    """Move image tokens to the front, and mark the Drafts that need the full rules."""
    firsts = np.cumsum(drafts.counts) - drafts.counts
    images = np.array([len(some) for some in drafts.images], np.int64)
    has_image = images == 1
    is_region = np.array([subset in REGION_SUBSETS for subset in drafts.subsets], np.bool_)
    moved = _move_tokens(drafts.texts, firsts[has_image], np.flatnonzero(has_image))
    texts = pa.array(drafts.texts, pa.string())
    buffer = _buffer_texts(texts, firsts)
    doubtful = (drafts.counts > limits.max_turns) | (buffer.sizes() > limits.max_characters)
    doubtful |= buffer.drafts_with_bytes(_find_controls(buffer)) | (images > max_images)
    doubtful |= _find_misplaced_tokens(buffer, images)
    doubtful |= _find_odd_boxes(buffer, is_region) | buffer.drafts_with_texts(
        _find_blank(buffer, drafts.texts, images)
    )
    return CheckedDrafts(texts, doubtful | _find_odd_paths(drafts.images), moved)


def _move_tokens(texts: list[str], firsts: Ints, drafts: Ints) -> dict[int, str]:
    """Move the token within first questions only; a token in a later turn is left in doubt."""
    moved: dict[int, str] = {}
    for position, draft in zip(firsts.tolist(), drafts.tolist(), strict=True):
        text = texts[position]
        if not text.startswith(f"{IMAGE_TOKEN}\n") and IMAGE_TOKEN in text:
            moved[draft] = text
            texts[position] = put_token_first(text)
    return moved


class _TextBuffer(NamedTuple):
    """All texts as UTF-8: text n is data[bounds[n] : bounds[n + 1]].

    `firsts` holds the number of each Draft's first text.
    """

    data: bytes
    octets: Octets
    bounds: Ints
    firsts: Ints

    def sizes(self) -> Ints:
        """Return the size of each Draft in bytes."""
        sizes: Ints = np.diff(self.bounds[np.append(self.firsts, len(self.bounds) - 1)])
        return sizes

    def drafts_with_texts(self, texts: Ints) -> Mask:
        """Return a mask of the Drafts that contain these texts."""
        found = np.zeros(len(self.firsts), np.bool_)
        found[np.searchsorted(self.firsts, texts, side="right") - 1] = True
        return found

    def drafts_with_bytes(self, positions: Ints) -> Mask:
        """Return a mask of the Drafts that contain these byte positions."""
        found = np.zeros(len(self.firsts), np.bool_)
        found[self.drafts_at(positions)] = True
        return found

    def drafts_at(self, positions: Ints) -> Ints:
        """Return the number of the Draft at each byte position."""
        drafts: Ints = np.searchsorted(self.bounds[self.firsts], positions, side="right") - 1
        return drafts

    def spans(self, positions: Ints, size: int) -> Octets:
        """Return `size` bytes from each position, padded with the last byte of all."""
        return self.octet_at(positions[:, None] + np.arange(size))

    def octet_at(self, positions: Ints) -> Octets:
        """Return the byte at each position; past the end, the last byte of all."""
        found: Octets = self.octets[np.minimum(positions, len(self.octets) - 1)]
        return found


def _buffer_texts(texts: pa.StringArray, firsts: Ints) -> _TextBuffer:
    _, bounds, values = texts.buffers()
    data = values.to_pybytes() if values else b""
    offsets = np.frombuffer(bounds, np.int32, len(texts) + 1).astype(np.int64)
    octets = np.frombuffer(data or b"\0", np.uint8)  # never empty, so indexing works
    return _TextBuffer(data, octets, offsets, firsts)


def _find_controls(buffer: _TextBuffer) -> Ints:
    """Return the positions of control characters."""
    found = np.zeros(0, np.int64)
    if buffer.data.translate(None, _NO_CONTROLS):
        found = np.flatnonzero(_IS_CONTROL[buffer.octets])
    if _C1_LEAD in buffer.data:
        leads = np.flatnonzero(buffer.octets == _C1_LEAD)
        found = np.append(found, leads[buffer.octets[leads + 1] <= _C1_LAST])
    return found


def _find_misplaced_tokens(buffer: _TextBuffer, images: Ints) -> Mask:
    """Mark Drafts without the token at the front of the first question, or with it elsewhere.

    A Draft of several images has as many tokens in its questions, anywhere.
    """
    has_image = images == 1
    begins = buffer.bounds[buffer.firsts]
    long_enough = buffer.bounds[buffer.firsts + 1] - begins >= len(_OPENING)
    in_front = (buffer.spans(begins, len(_OPENING)) == _OPENING).all(axis=1) & long_enough
    if buffer.data.count(_TOKEN) == images.sum() == np.count_nonzero(in_front & has_image):
        return np.zeros(len(has_image), np.bool_)
    positions = np.array([match.start() for match in re.finditer(_TOKEN, buffer.data)], np.int64)
    drafts = buffer.drafts_at(positions)
    times = np.bincount(drafts, minlength=len(images))
    turns = np.searchsorted(buffer.bounds, positions, side="right") - 1 - buffer.firsts[drafts]
    wrong: Mask = (times != images) | ((in_front != has_image) & (images < 2))
    wrong[drafts[turns % 2 == 1]] = True  # in an answer
    return wrong


def _find_blank(buffer: _TextBuffer, texts: list[str], images: Ints) -> Ints:
    """Return the texts without visible content, among Drafts with the tokens in their places."""
    begins, ends = buffer.bounds[:-1].copy(), buffer.bounds[1:]
    begins[buffer.firsts[images == 1]] += len(_OPENING)
    begins = np.minimum(begins, ends)
    octets = buffer.octet_at(begins)
    # A visible ASCII character settles it; any other first byte needs the full check.
    unclear = (octets <= 0x20) | (octets >= 0x7F) | (begins == ends)
    if (images > 1).any():  # any of its texts may be a token alone
        counts = np.diff(buffer.firsts, append=len(begins))
        unclear |= np.repeat(images > 1, counts) & (octets == ord("<"))
    return np.array([n for n in np.flatnonzero(unclear).tolist() if is_blank(texts[n])], np.int64)


def _find_odd_boxes(buffer: _TextBuffer, is_region: Mask) -> Mask:
    """Mark region Drafts with a bracket that opens no valid box in LLaVA's form."""
    found = np.zeros(len(is_region), np.bool_)
    if not is_region.any():
        return found
    positions = np.flatnonzero(buffer.octets == ord("["))
    positions = positions[is_region[buffer.drafts_at(positions)]]
    spans = buffer.spans(positions, len(_BOX))
    digits = spans[:, _DIGITS].astype(np.int64) - ord("0")
    form = (spans[:, _FIXED] == _BOX[_FIXED]).all(axis=1)
    form &= ((digits >= 0) & (digits <= 9)).all(axis=1)
    left, top, right, bottom = (digits[:, n] * 10 + digits[:, n + 1] for n in (0, 2, 4, 6))
    return found | buffer.drafts_with_bytes(positions[~(form & (left < right) & (top < bottom))])


def _find_odd_paths(images: Sequence[tuple[str, ...]]) -> Mask:
    """Mark Drafts with an image path that leads outside or is not in its normal form."""
    paths = list(chain.from_iterable(images))
    lines = "\n".join(["", *paths, ""]) if paths else ""
    if not any(sign in lines for sign in _SUSPICIOUS):
        return np.zeros(len(images), np.bool_)
    return np.array([any(map(_is_odd_path, some)) for some in images], np.bool_)


def _is_odd_path(path: str) -> bool:
    return leads_outside(path) or normalize_path(path) != path
