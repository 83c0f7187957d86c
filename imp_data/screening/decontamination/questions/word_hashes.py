"""64-bit hashes of words, texts and n-grams of words, over the bytes of all texts at once.

A sequence has the hash Σ value[n]·base^n modulo 2^64, mixed; the values of a word are random
numbers of its bytes, those of a text and of an n-gram the hashes of its words. Differences of
running sums give the hashes of all words, texts and n-grams in a few passes of numpy.
"""

from functools import cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import xxhash

from imp_data.screening.decontamination.questions.normalization import NUMBER_WORDS
from imp_data.storage.sorted_lookup import find_sorted

Hashes = npt.NDArray[np.uint64]
Places = npt.NDArray[np.int64]
# Odd, and 3 modulo 4: two words of which the letters of one are swapped keep nearly all bits apart.
_BYTE_BASE, _WORD_BASE = 0x9E3779B97F4A7C17 | 3, 0xC2B2AE3D27D4EB4F
_SIGNS = b"+%$=^"


class HashedTexts(NamedTuple):
    """The hashes of the words of texts; text n has words[bounds[n]:bounds[n + 1]]."""

    words: Hashes
    bounds: Places

    def texts(self) -> Hashes:
        """Return the hash of each text: that of its words in their order; 0 without a word."""
        sums, inverse = self._sums()
        begins, ends = self.bounds[:-1], self.bounds[1:]
        hashes = mix((sums[ends] - sums[begins]) * inverse[begins])
        hashes[begins == ends] = 0
        return hashes

    def ngrams(self, size: int) -> tuple[Hashes, Places]:
        """Return the hash of each n-gram of so many words, and the text that it is in."""
        counts = np.diff(self.bounds)
        text = np.repeat(np.arange(len(counts)), counts)
        begins = np.arange(max(len(self.words) - size + 1, 0))
        begins = begins[begins + size <= self.bounds[1:][text[begins]]]
        sums, inverse = self._sums()
        return mix((sums[begins + size] - sums[begins]) * inverse[begins]), text[begins]

    def _sums(self) -> tuple[Hashes, Hashes]:
        powers, inverse = _powers(_WORD_BASE, _size(len(self.words)))
        return _running_sums(self.words * powers[: len(self.words)]), inverse


def hash_words(texts: pa.Array) -> HashedTexts:
    """Hash the words of plain texts (`normalization.words_of`); a null has none.

    Memory: some 40 bytes for each byte of the texts.
    """
    offsets, data = _bytes(texts)
    begins, ends = _word_places(offsets, data)
    powers, inverse = _powers(_BYTE_BASE, _size(len(data)))
    sums = _running_sums(_byte_values()[data] * powers[: len(data)])
    words = mix((sums[ends] - sums[begins]) * inverse[begins])
    spelled, digits = _number_words()
    places = find_sorted(spelled, words)
    words = np.where(places >= 0, digits[places], words)
    return HashedTexts(words, np.searchsorted(begins, offsets))


def hash_texts(texts: pa.Array) -> Hashes:
    """Return the hash of each plain text's words in their order; 0 for a text without a word."""
    return hash_words(texts).texts()


def mix(values: Hashes) -> Hashes:
    """Return the values with every bit spread over all bits (the finalizer of splitmix64)."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def pair_hashes(some: Hashes, others: Hashes) -> Hashes:
    """Return a hash of each pair, in this order."""
    return mix(some * np.uint64(_WORD_BASE) + mix(others + np.uint64(1)))


def set_hashes(hashes: Hashes, bounds: Places) -> Hashes:
    """Return a hash of each set hashes[bounds[n]:bounds[n + 1]], in any order; 0 if it is empty."""
    sums = _running_sums(mix(hashes + np.uint64(_BYTE_BASE)))
    counts = np.diff(bounds).astype(np.uint64)
    sets = mix(sums[bounds[1:]] - sums[bounds[:-1]] + counts)
    sets[counts == 0] = 0
    return sets


def _bytes(texts: pa.Array) -> tuple[Places, npt.NDArray[np.uint8]]:
    """Return the bytes of all texts, and where each begins and the last ends."""
    texts = texts.cast(pa.large_string())
    if texts.null_count:
        texts = texts.fill_null("")
    _, offset_buffer, data_buffer = texts.buffers()
    if not len(texts):
        return np.zeros(1, np.int64), np.zeros(0, np.uint8)
    offsets = np.frombuffer(offset_buffer, np.int64)[texts.offset : texts.offset + len(texts) + 1]
    data = np.frombuffer(data_buffer or b"", np.uint8)[offsets[0] : offsets[-1]]
    return offsets - offsets[0], data


def _word_places(offsets: Places, data: npt.NDArray[np.uint8]) -> tuple[Places, Places]:
    """Return where words begin and end; none reaches into the next text."""
    padded = np.zeros(len(data) + 2, np.bool_)
    inside = padded[1:-1]
    inside[:] = _word_bytes()[data]
    points = np.flatnonzero(data == ord("."))
    points = points[(points > 0) & (points < len(data) - 1)]
    digits = (data >= ord("0")) & (data <= ord("9"))
    edges = np.zeros(len(data) + 1, np.bool_)
    edges[offsets] = True
    between = digits[points - 1] & digits[points + 1] & ~edges[points] & ~edges[points + 1]
    inside[points[between]] = True
    begins = inside & (~padded[:-2] | edges[:-1])
    ends = inside & (~padded[2:] | edges[1:])
    return np.flatnonzero(begins), np.flatnonzero(ends) + 1


@cache
def _word_bytes() -> npt.NDArray[np.bool_]:
    """Return which bytes are part of words; all of a character beyond ASCII are."""
    codes = np.arange(256)
    letters = ((codes | 32) >= ord("a")) & ((codes | 32) <= ord("z")) & (codes < 128)
    digits = (codes >= ord("0")) & (codes <= ord("9"))
    return letters | digits | np.isin(codes, list(_SIGNS)) | (codes >= 128)


@cache
def _byte_values() -> Hashes:
    """Return a random number for each byte; those of a letter in both cases are equal."""
    lower = bytes(range(256)).lower()
    return np.array([xxhash.xxh3_64_intdigest(bytes([code])) for code in lower], np.uint64)


@cache
def _number_words() -> tuple[Hashes, Hashes]:
    """Return the ascending hashes of number words, and those of their digits."""
    hashed = [_hash_bytes(word.encode()) for word in NUMBER_WORDS]
    digits = [_hash_bytes(str(number).encode()) for number in range(len(NUMBER_WORDS))]
    order = np.argsort(np.array(hashed, np.uint64))
    return np.array(hashed, np.uint64)[order], np.array(digits, np.uint64)[order]


def _hash_bytes(word: bytes) -> int:
    values = _byte_values()
    total = sum(
        int(values[byte]) * pow(_BYTE_BASE, place, 1 << 64) for place, byte in enumerate(word)
    )
    return int(mix(np.array([total % (1 << 64)], np.uint64))[0])


def _size(count: int) -> int:
    """Return a power of two from `count` on, so that few tables of powers are made."""
    return 1 << max(count.bit_length(), 16)


@cache
def _powers(base: int, size: int) -> tuple[Hashes, Hashes]:
    """Return the powers of an odd base modulo 2^64 from 0 on, and those of its inverse."""
    tables = []
    for factor in (base, pow(base, -1, 1 << 64)):
        table = np.full(size, factor, np.uint64)
        table[0] = 1
        tables.append(np.cumprod(table))
    return tables[0], tables[1]


def _running_sums(values: Hashes) -> Hashes:
    """Return the sums modulo 2^64 of the values before each place, and of all."""
    sums = np.zeros(len(values) + 1, np.uint64)
    np.cumsum(values, out=sums[1:])
    return sums
