"""How much a text says: the bits of its words, which tell a specific question from a generic one.

A word has -log2 of its share in questions about images, rounded down. The table has the words of
0.06 % and more among the 54,425 words of the 6,715 different questions of TextVQA (validation),
POPE, MME and MM-Vet; every other word counts as rarer than 1 in 4,096. A number has log2(10) bits
a digit.
"""

from collections.abc import Iterable
from functools import cache

from imp_data.screening.decontamination.questions.normalization import words_of

# A match must say as much as five words that are not in the table.
MIN_BITS = 60
# A question about more images than these, within the benchmarks or within the source, is frequent.
MAX_IMAGES = 3
# What a frequent question counts for at most: its answer or its options must say the rest.
FREQUENT_BITS = 24
_RARE_WORD_BITS, _DIGIT_BITS = 12, 3.32

_WORDS = {
    3: "the is what",
    4: "of this",
    5: "in on a",
    6: "does image picture number red",
    7: "to are box name brand place inside bounding there photo s right artwork it",
    8: "say left called word who movie how by actor for sign kind person written top titled named "
    "book an and at from which you bottle shown that bottom taken company captured many can "
    "describe phone",
    9: "player time was where shirt i team white first displayed letter type year created with "
    "these jersey letters do beer title man blue directed black made country have appropriate "
    "drink car last here clock yellow green watch code",
    10: "wine middle page they city advertised be logo english being side should above coin plane "
    "date much or text plate color when back website his numbers poster into printed chinese "
    "mentioned church bus state translate people under answer product front store about all has "
    "label de food banner screen listed indoor shows makes wall second did output yes no",
}


@cache
def _table() -> dict[str, int]:
    return {word: bits for bits, words in _WORDS.items() for word in words.split()}


def information_bits(plain: str) -> int:
    """Return the bits of a plain text."""
    return bits_of_words(words_of(plain))


def bits_of_words(words: Iterable[str]) -> int:
    """Return the bits of words, rounded down."""
    return int(sum(_word_bits(word) for word in words))


def _word_bits(word: str) -> float:
    digits = word.replace(".", "")
    if digits.isascii() and digits.isdigit():
        return len(digits) * _DIGIT_BITS
    return _table().get(word, _RARE_WORD_BITS)
