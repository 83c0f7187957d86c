"""Find the questions and answers of benchmarks in batches of Samples."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from imp_data.screening.decontamination.questions.normalization import (
    Question,
    is_wrapped,
    plain_texts,
    read_answer,
    read_question,
)
from imp_data.screening.decontamination.questions.options import labelled_option
from imp_data.screening.decontamination.questions.question_index import (
    Bits,
    NgramLookup,
    QuestionIndex,
)
from imp_data.screening.decontamination.questions.question_pack import NGRAM_WORDS
from imp_data.screening.decontamination.questions.word_hashes import (
    Hashes,
    Places,
    hash_texts,
    hash_words,
    set_hashes,
)

# The texts that are hashed at once; their hashes take some 40 times as much.
_PIECE_BYTES = 1 << 18


class Asked(NamedTuple):
    """Questions of benchmarks that Samples ask word for word: one entry for each turn and text.

    `item` is the benchmark's item that agrees most. `options_bits` and `answer_bits` are 0 where
    options or answer differ; `options_images` has of how many images these options are asked.
    """

    row: Places
    text: Places
    item: Places
    options_bits: Bits
    options_images: Places
    answer_bits: Bits


class Copied(NamedTuple):
    """Long texts of benchmarks that Samples contain: the share of a text's n-grams in the Sample.

    `owner` is a text if it is a question, an item if it is an answer.
    """

    row: Places
    owner: Places
    share: npt.NDArray[np.float64]
    is_answer: npt.NDArray[np.bool_]


class Found(NamedTuple):
    """What a batch of Samples has of benchmarks; rows count from the batch's first."""

    asked: Asked
    copied: Copied


def find_questions(conversations: pa.ListArray, index: QuestionIndex) -> Found:
    """Find the texts of benchmarks in a batch of conversations.

    The result depends on each conversation alone. Memory beyond the result: some 40 bytes for each
    byte of 256 KiB of text, or of the longest conversation.
    """
    found = [_shifted(_find(piece, index), first) for first, piece in _pieces(conversations)]
    asked = Asked(
        *map(np.concatenate, zip(_no_asked(), *(one.asked for one in found), strict=True))
    )
    nothing = (np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0), np.zeros(0, np.bool_))
    copied = Copied(*map(np.concatenate, zip(nothing, *(one.copied for one in found), strict=True)))
    return Found(asked, copied)


def _no_asked() -> Asked:
    none, bits = np.zeros(0, np.int64), np.zeros(0, np.int32)
    return Asked(none, none, none, bits, none, bits)


def _shifted(found: Found, first: int) -> Found:
    asked = found.asked._replace(row=found.asked.row + first)
    return Found(asked, found.copied._replace(row=found.copied.row + first))


def _pieces(conversations: pa.ListArray) -> Iterator[tuple[int, pa.ListArray]]:
    """Yield the first row and the conversations of pieces of bounded size."""
    if not len(conversations):
        return
    lengths = pc.binary_length(conversations.flatten().field("value")).fill_null(0).to_numpy()
    turns = np.cumsum(conversations.value_lengths().fill_null(0).to_numpy())
    ends = np.append(0, np.cumsum(lengths, dtype=np.int64))[turns]
    first = done = 0
    while first < len(conversations):
        until = max(int(np.searchsorted(ends, done + _PIECE_BYTES, side="right")), first + 1)
        yield first, conversations.slice(first, until - first)
        first, done = until, int(ends[until - 1])


class _Turns(NamedTuple):
    """The turns of some conversations in the form in which they are compared.

    `questions` has the turns that wording was taken from, by number. `stems` are the hashes of the
    turns' questions; `options` those of their sets of options.
    """

    row: Places
    is_human: npt.NDArray[np.bool_]
    plain: pa.Array
    questions: dict[int, Question]
    texts: Hashes
    stems: Hashes
    options: Hashes


def _find(conversations: pa.ListArray, index: QuestionIndex) -> Found:
    turns = conversations.flatten()
    counts = conversations.value_lengths().fill_null(0).to_numpy()
    row = np.repeat(np.arange(len(conversations)), counts)
    is_human = pc.equal(turns.field("from"), "human").to_numpy(zero_copy_only=False)
    plain = plain_texts(turns.field("value").cast(pa.large_string()).fill_null(""))
    wrapped = np.flatnonzero(is_human & is_wrapped(plain).to_numpy(zero_copy_only=False))
    read = [read_question(text) for text in plain.take(pa.array(wrapped)).to_pylist()]
    mask = np.zeros(len(plain), np.bool_)
    mask[wrapped] = True
    texts = pa.array([question.text for question in read], pa.large_string())
    hashed = hash_words(pc.replace_with_mask(plain, pa.array(mask), texts))
    stems = hashed.texts()
    options = np.zeros(len(plain), np.uint64)
    if read:
        stems[wrapped] = hash_texts(pa.array([q.stem for q in read], pa.large_string()))
        each = hash_texts(pa.array([one for q in read for one in q.options], pa.large_string()))
        options[wrapped] = set_hashes(each, np.cumsum([0, *(len(q.options) for q in read)]))
    questions = dict(zip(wrapped.tolist(), read, strict=True))
    found = _Turns(row, is_human, plain, questions, hashed.texts(), stems, options)
    ngrams, places = hashed.ngrams(NGRAM_WORDS)
    copied = [
        _copied(ngrams, row[places], some, is_answer)
        for some, is_answer in ((index.ngrams, False), (index.answer_ngrams, True))
    ]
    return Found(_asked(found, index), Copied(*map(np.concatenate, zip(*copied, strict=True))))


def _copied(ngrams: Hashes, rows: Places, lookup: NgramLookup, is_answer: bool) -> Copied:
    """Return which texts share n-grams with which rows, and what share of the text's."""
    found, owners = lookup.find(ngrams)
    triples = np.unique(np.stack([rows[found], owners, ngrams[found].view(np.int64)]), axis=1)
    pairs, counts = np.unique(triples[:2], axis=1, return_counts=True)
    share = counts / lookup.counts[pairs[1]] if len(counts) else np.zeros(0)
    return Copied(pairs[0], pairs[1], share, np.full(len(counts), is_answer))


def _asked(turns: _Turns, index: QuestionIndex) -> Asked:
    human = np.flatnonzero(turns.is_human)
    found, text = index.stems.find(turns.stems[human])
    turn = human[found]
    answers = _answer_hashes(turns, turn)
    by_options = index.with_options.first(index.pairs(text, turns.options[turn]))
    keys = index.pairs(text, answers)
    answered = np.searchsorted(index.with_answer.keys, keys)
    has_answer = index.with_answer.first(keys) >= 0
    item = np.where(by_options >= 0, by_options, index.text_item[text])
    item = np.where(has_answer, index.with_answer.first(keys), item)
    return Asked(
        row=turns.row[turn],
        text=text,
        item=item,
        options_bits=np.where(by_options >= 0, index.options_bits[by_options], 0).astype(np.int32),
        options_images=np.where(by_options >= 0, index.options_images[by_options], 0),
        answer_bits=np.where(
            has_answer, np.append(index.answer_bits, 0)[np.where(has_answer, answered, -1)], 0
        ).astype(np.int32),
    )


def _answer_hashes(turns: _Turns, asking: Places) -> Hashes:
    """Return the hash of the answer to each of these turns; 0 where no answer follows.

    A letter counts as the option that it stands for.
    """
    following = np.minimum(asking + 1, len(turns.row) - 1)
    answers = (turns.row[following] == turns.row[asking]) & ~turns.is_human[following]
    answers &= following != asking
    hashes = np.where(answers, turns.texts[following], 0)
    labelled = pc.match_substring_regex(turns.plain.take(pa.array(following)), ":").to_numpy(
        zero_copy_only=False
    )
    special = np.flatnonzero(answers & (labelled | (turns.options[asking] != 0)))
    if len(special):
        texts = turns.plain.take(pa.array(following[special])).to_pylist()
        read = []
        for place, text in zip(asking[special].tolist(), texts, strict=True):
            answer = read_answer(text)
            question = turns.questions.get(place)
            named = labelled_option(answer, question.options) if question else None
            read.append(named or answer)
        hashes[special] = hash_texts(pa.array(read, pa.large_string()))
    return hashes
