"""Read options that have a column each: MMBench's A, B, C, D; SEED-Bench's choice_a, choice_b."""

from collections.abc import Iterator
from typing import Any, NamedTuple

from imp_data.records.forms.options import read_option

_LETTERS = "ABCDEFGHIJ"
# The names of the columns, with the letter of the option.
_NAMES = ("{A}", "option_{A}", "option_{a}", "choice_{A}", "choice_{a}")
# An option that is absent, as pandas writes it.
_ABSENT = "nan"
LETTERED_COLUMNS = frozenset(
    name.format(A=letter, a=letter.lower()) for name in _NAMES for letter in _LETTERS
)


class LetteredOptions(NamedTuple):
    """The texts of options, empty for an absent one, and the name of the first one's column."""

    texts: list[str]
    column: str


def read_lettered_options(record: dict[str, Any]) -> LetteredOptions | None:
    """Return the options of a record that has columns for the first two letters; else None.

    Raises RecordError if an option is neither text nor a number.
    """
    for name in _NAMES:
        columns = list(_columns(record, name))
        if len(columns) > 1:
            texts = [read_option(record[column], column) for column in columns]
            return LetteredOptions(["" if is_absent(text) else text for text in texts], columns[0])
    return None


def _columns(record: dict[str, Any], name: str) -> Iterator[str]:
    """Yield the columns from A on; a missing one ends them."""
    for letter in _LETTERS:
        column = name.format(A=letter, a=letter.lower())
        if column not in record:
            return
        yield column


def is_absent(text: str) -> bool:
    """Return whether a text is what pandas writes for an absent one."""
    return text.strip().lower() == _ABSENT


def index_of_letter(correct: Any, count: int) -> Any:
    """Return the index of a letter that names one of `count` columns; any other value as it is.

    A letter names its column, also if another option's text is that letter.
    """
    if isinstance(correct, str) and len(letter := correct.strip().upper()) == 1:
        place = _LETTERS.find(letter)
        return place if 0 <= place < count else correct
    return correct
