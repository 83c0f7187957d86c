"""Tell which of the questions found in a source are a benchmark's, and which are generic."""

from enum import StrEnum
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from imp_data.screening.decontamination.questions.information import (
    FREQUENT_BITS,
    MAX_IMAGES,
    MIN_BITS,
)
from imp_data.screening.decontamination.questions.matcher import Copied, Found
from imp_data.screening.decontamination.questions.question_index import QuestionIndex
from imp_data.screening.decontamination.questions.question_pack import image_digest
from imp_data.screening.decontamination.questions.word_hashes import Hashes, Places

# Of a long text's 13-grams, this share is in the record. Below it is a passage that both quote.
MIN_SHARE = 0.5


class Rule(StrEnum):
    """What of a benchmark's item a record repeats."""

    QUESTION = "question"
    OPTIONS = "question_and_options"
    ANSWER = "question_and_answer"
    LONG_QUESTION = "long_question"
    LONG_ANSWER = "long_answer"


_RULES = tuple(Rule)


class QuestionMatch(NamedTuple):
    """A benchmark's question in a record; `share` is that of the text's 13-grams, 1 if equal.

    A generic question counts only beside its own image.
    """

    benchmark: str
    id: str
    rule: Rule
    share: float = 1.0
    generic: bool = False

    @property
    def has_answer(self) -> bool:
        """Whether the record has the benchmark's answer too."""
        return self.rule in (Rule.ANSWER, Rule.LONG_ANSWER)

    def evidence(self) -> dict[str, Any]:
        """Return what the ledger states of it."""
        share = {} if self.share == 1 else {"share": round(self.share, 3)}
        generic = {"generic": True} if self.generic else {}
        return {"id": self.id, "rule": self.rule.value, **share, **generic}


class QuestionMatches:
    """The matches of a source's Samples by row; 24 bytes each, and 8 a generic question."""

    def __init__(self, index: QuestionIndex, strong: "_Strong", generic: tuple[Places, Places]):
        self._index, self._strong = index, strong
        self._generic_rows, self._generic_texts = generic

    @property
    def rows(self) -> Places:
        """The ascending rows with a match that is not generic."""
        return np.unique(self._strong.row)

    def of_row(self, row: int) -> dict[str, QuestionMatch]:
        """Return the strongest match of a row with each benchmark, generic ones left out."""
        begin, end = np.searchsorted(self._strong.row, [row, row + 1])
        found: dict[str, QuestionMatch] = {}
        for place in range(int(begin), int(end)):
            match = self._match(place)
            found.setdefault(match.benchmark, match)
        return found

    def about_image(self, row: int, benchmark: str, image: str) -> QuestionMatch | None:
        """Return the question of a row that the benchmark asks about this image of its own."""
        index = self._index
        begin, end = np.searchsorted(self._generic_rows, [row, row + 1])
        texts = self._generic_texts[begin:end]
        texts = texts[index.text_benchmark[texts] == index.benchmarks.index(benchmark)]
        digests = np.full(len(texts), image_digest(image), np.uint64)
        items = index.with_image.first(index.pairs(texts, digests))
        items = items[items >= 0]
        if not len(items):
            return None
        return QuestionMatch(
            benchmark, index.ids[int(items[0])].as_py(), Rule.QUESTION, generic=True
        )

    def _match(self, place: int) -> QuestionMatch:
        index, strong = self._index, self._strong
        item = int(strong.item[place])
        benchmark = index.benchmarks[int(index.text_benchmark[index.item_text[item]])]
        rule = _RULES[int(strong.rule[place])]
        return QuestionMatch(benchmark, index.ids[item].as_py(), rule, float(strong.share[place]))


class _Strong(NamedTuple):
    """Matches that are not generic, by ascending row, the strongest of a row first."""

    row: Places
    item: Places
    rule: npt.NDArray[np.uint8]
    share: npt.NDArray[np.float32]


class QuestionTally:
    """Collect what batch after batch of a source has of benchmarks.

    Memory: 40 bytes for each question of a benchmark that a turn asks.
    """

    def __init__(self, index: QuestionIndex) -> None:
        self._index = index
        self._asked: list[npt.NDArray[np.int64]] = []
        self._images: list[Hashes] = []
        self._copied: list[Copied] = []

    def add(self, found: Found, first_row: int, images: Hashes) -> None:
        """Add what a batch has; `images` tells the images of its rows apart."""
        asked = found.asked
        self._asked.append(
            np.stack(
                [
                    *(asked.row + first_row, asked.text, asked.item),
                    *(asked.options_bits, asked.options_images, asked.answer_bits),
                ]
            ).astype(np.int64)
        )
        self._images.append(images[asked.row])
        self._copied.append(found.copied._replace(row=found.copied.row + first_row))

    def matches(self) -> QuestionMatches:
        """Return the matches of all batches: frequency is known only now."""
        index = self._index
        columns = np.concatenate([np.zeros((6, 0), np.int64), *self._asked], axis=1)
        row, text, item, options_bits, options_images, answer_bits = columns
        images = np.concatenate([np.zeros(0, np.uint64), *self._images])
        options_bits = np.where(options_images <= MAX_IMAGES, options_bits, 0)
        bits = self._question_bits(text, images) + np.maximum(options_bits, answer_bits)
        strong = bits >= MIN_BITS
        without_answer = np.where(options_bits > 0, _code(Rule.OPTIONS), _code(Rule.QUESTION))
        rule = np.where(answer_bits > 0, _code(Rule.ANSWER), without_answer)
        rows, items, rules, shares = _long(index, self._copied)
        found = _sorted(
            _Strong(
                np.concatenate([row[strong], rows]),
                np.concatenate([item[strong], items]),
                np.concatenate([rule[strong], rules]).astype(np.uint8),
                np.concatenate([np.ones(int(strong.sum())), shares]).astype(np.float32),
            )
        )
        by_row = np.argsort(row, kind="stable")
        return QuestionMatches(index, found, (row[by_row], text[by_row]))

    def _question_bits(self, text: Places, images: Hashes) -> Places:
        """Return what each question says; less if it is about many images."""
        index, bits = self._index, self._index.text_bits[text]
        here = _images_of_texts(text, images, len(index.text_bits))
        frequent = (index.images[text] > MAX_IMAGES) | (here[text] > MAX_IMAGES)
        return np.where(frequent, np.minimum(bits, FREQUENT_BITS), bits)


def _code(rule: Rule) -> int:
    return _RULES.index(rule)


def _sorted(found: _Strong) -> _Strong:
    """Sort by row; an answer before none, equal before nearly equal, then the first item."""
    answered = np.isin(found.rule, [_code(Rule.ANSWER), _code(Rule.LONG_ANSWER)])
    order = np.lexsort((found.item, -found.share, ~answered, found.row))
    return _Strong(found.row[order], found.item[order], found.rule[order], found.share[order])


def _images_of_texts(text: Places, images: Hashes, count: int) -> Places:
    """Return about how many different images each text is asked."""
    pairs = np.unique(np.stack([text.astype(np.uint64), images]), axis=1)
    return np.bincount(pairs[0].astype(np.int64), minlength=count)


def _long(
    index: QuestionIndex, copied: list[Copied]
) -> tuple[Places, Places, Places, npt.NDArray[np.float64]]:
    """Return row, item, rule and share of the long texts of which a row has enough."""
    parts = [[np.zeros(0, np.int64)] * 2 + [np.zeros(0), np.zeros(0, np.bool_)], *copied]
    row, owner, share, is_answer = (np.concatenate(some) for some in zip(*parts, strict=True))
    enough = share >= MIN_SHARE
    row, owner, share, is_answer = row[enough], owner[enough], share[enough], is_answer[enough]
    item = np.where(is_answer, owner, np.append(index.text_item, 0)[np.where(is_answer, -1, owner)])
    rule = np.where(is_answer, _code(Rule.LONG_ANSWER), _code(Rule.LONG_QUESTION))
    return row, item, rule, share
