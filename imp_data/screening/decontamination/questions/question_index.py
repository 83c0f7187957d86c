"""The questions of several benchmarks, sorted for look-up.

A text is one question of one benchmark, however many of its items ask it; a place is an item, one
row of a pack, counted over all packs.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from imp_data.screening.decontamination.questions.question_pack import QuestionPack
from imp_data.screening.decontamination.questions.word_hashes import Hashes, Places, pair_hashes
from imp_data.storage.sorted_lookup import find_sorted

Bits = npt.NDArray[np.int32]
# Of the n-grams that are none of a benchmark's, the bitmap passes one in sixteen or fewer.
_PLACES_PER_NGRAM = 16


class Lookup(NamedTuple):
    """Ascending keys, each with one value or several."""

    keys: Hashes
    values: Places

    def find(self, wanted: Hashes) -> tuple[Places, Places]:
        """Return the places in `wanted` that have a value, each as often as it has values."""
        begins = np.searchsorted(self.keys, wanted)
        counts = np.searchsorted(self.keys, wanted, side="right") - begins
        found = np.repeat(np.arange(len(wanted)), counts)
        within = np.arange(len(found)) - np.repeat(np.cumsum(counts) - counts, counts)
        return found, self.values[begins[found] + within]

    def first(self, wanted: Hashes) -> Places:
        """Return the first value of each key, -1 where there is none."""
        places = find_sorted(self.keys, wanted)
        return np.where(places >= 0, np.append(self.values, -1)[places], -1)


class NgramLookup(NamedTuple):
    """N-grams, and a bitmap that most others fail; `counts` has how many each owner has."""

    lookup: Lookup
    bitmap: npt.NDArray[np.bool_]
    counts: Places

    def find(self, wanted: Hashes) -> tuple[Places, Places]:
        """Return the places in `wanted` that are among the n-grams, and their owners."""
        if not len(self.lookup.keys):
            return np.zeros(0, np.int64), np.zeros(0, np.int64)
        likely = np.flatnonzero(self.bitmap[_bitmap_places(wanted, len(self.bitmap))])
        found, owners = self.lookup.find(wanted[likely])
        return likely[found], owners


class QuestionIndex(NamedTuple):
    """Benchmarks for matching; arrays of texts and of items.

    `images` has about how many images each text is asked in all benchmarks together.
    `with_options`, `with_answer` and `with_image` map pairs of a text and the other to an item.
    """

    benchmarks: tuple[str, ...]
    ids: pa.ChunkedArray
    item_text: Places
    options_bits: Bits
    text_benchmark: Places
    text_item: Places
    text_bits: Bits
    images: Places
    stems: Lookup
    with_options: Lookup
    options_images: Places
    with_answer: Lookup
    answer_bits: Bits
    with_image: Lookup
    ngrams: NgramLookup
    answer_ngrams: NgramLookup

    def pairs(self, texts: Places, others: Hashes) -> Hashes:
        """Return the keys of pairs of a text and the hash of its options, answer or image."""
        return pair_hashes(texts.astype(np.uint64), others)


def build_index(packs: Sequence[QuestionPack]) -> QuestionIndex:
    """Index the packs of benchmarks."""
    table = pa.concat_tables([pack.table for pack in packs])
    benchmark = np.repeat(np.arange(len(packs)), [pack.table.num_rows for pack in packs])
    question = table["question"].to_numpy()
    keys = pair_hashes(benchmark.astype(np.uint64), question)
    _, text_item, item_text = np.unique(keys, return_index=True, return_inverse=True)
    images = _images(table)
    options, options_bits = table["options"].to_numpy(), table["options_bits"].to_numpy()
    has_options = np.flatnonzero(options)
    by_options = pair_hashes(item_text.astype(np.uint64), options)
    answered, answers = _owners(table["answers"])
    bits = pc.list_flatten(table["answer_bits"]).to_numpy()
    pictured = np.flatnonzero(table["image"].is_valid().to_numpy())
    by_image = pair_hashes(item_text[pictured].astype(np.uint64), images[pictured])
    grams, gram_texts = _text_ngrams(table["ngrams"], text_item)
    stem_texts = np.arange(len(text_item))
    with_answer = pair_hashes(item_text[answered].astype(np.uint64), answers)
    order = np.argsort(with_answer, kind="stable")
    return QuestionIndex(
        benchmarks=tuple(pack.name for pack in packs),
        ids=table["id"],
        item_text=item_text,
        options_bits=options_bits,
        text_benchmark=benchmark[text_item],
        text_item=text_item,
        text_bits=table["question_bits"].to_numpy()[text_item],
        images=_distinct_counts(question, images, question[text_item]),
        stems=_lookup(question[text_item], stem_texts),
        with_options=_lookup(by_options[has_options], has_options),
        options_images=_distinct_counts(by_options, images, by_options),
        with_answer=Lookup(with_answer[order], answered[order]),
        answer_bits=bits[order],
        with_image=_lookup(by_image, pictured),
        ngrams=_ngram_lookup(grams, gram_texts, len(text_item)),
        answer_ngrams=_answer_ngrams(table["answer_ngrams"]),
    )


def _images(table: pa.Table) -> Hashes:
    """Return the image of each item; an item that states none counts as one of its own."""
    own = pair_hashes(np.arange(table.num_rows).astype(np.uint64), np.zeros(1, np.uint64))
    valid = table["image"].is_valid().to_numpy()
    return np.where(valid, table["image"].fill_null(0).to_numpy(), own)


def _distinct_counts(keys: Hashes, images: Hashes, wanted: Hashes) -> Places:
    """Return of how many different images each wanted key is."""
    pairs = np.unique(np.stack([keys, images]), axis=1)
    found, counts = np.unique(pairs[0], return_counts=True)
    return counts[np.searchsorted(found, wanted)]


def _lookup(keys: Hashes, values: Places) -> Lookup:
    order = np.argsort(keys, kind="stable")
    return Lookup(keys[order], values[order])


def _owners(lists: pa.ChunkedArray) -> tuple[Places, Hashes]:
    """Return the row and the value of each entry of lists."""
    counts = pc.list_value_length(lists).to_numpy()
    return np.repeat(np.arange(len(lists)), counts), pc.list_flatten(lists).to_numpy()


def _text_ngrams(lists: pa.ChunkedArray, text_item: Places) -> tuple[Hashes, Places]:
    """Return the n-grams of the texts, and the text of each; items that ask the same agree."""
    texts, ngrams = _owners(lists.take(pa.array(text_item)))
    return ngrams, texts


def _answer_ngrams(lists: pa.ChunkedArray) -> NgramLookup:
    items, ngrams = _owners(lists)
    return _ngram_lookup(ngrams, items, len(lists))


def _ngram_lookup(ngrams: Hashes, owners: Places, count: int) -> NgramLookup:
    bitmap = np.zeros(1 << (_PLACES_PER_NGRAM * len(ngrams)).bit_length(), np.bool_)
    bitmap[_bitmap_places(ngrams, len(bitmap))] = True
    return NgramLookup(_lookup(ngrams, owners), bitmap, np.bincount(owners, minlength=count))


def _bitmap_places(hashes: Hashes, size: int) -> Places:
    """Return the place of each hash in a bitmap whose size is a power of two."""
    places: Places = (hashes & np.uint64(size - 1)).astype(np.int64)
    return places
