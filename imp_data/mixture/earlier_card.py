"""Compare cards of earlier releases by their figures: mixtures outlive the wording of cards."""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import yaml

# Headings that every card of an earlier release has, and that none of this release has.
_EARLIER_HEADING = "\n## What became of the records\n"
_PRESENT_HEADING = "\n## Outcomes of the records\n"
_EARLIER_SECTION = "\n## Said twice\n"

_ROW = re.compile(r"\|(.*)\|")
_RULE = re.compile(r"\|[-:|]+\|")
# A column of sentences, which a release may word in another way.
_SENTENCES = "meaning"
_LABEL = re.compile(r"\*\*[a-z ]+\*\*")
_FIGURE = re.compile(r"[\w.,%]*\d[\w.,%]*")


def is_earlier_card(text: str) -> bool:
    """Return whether a card was rendered by an earlier release, from its headings."""
    return _EARLIER_HEADING in text and _PRESENT_HEADING not in text


def split_earlier_card(text: str) -> tuple[str, str]:
    """Return the body of an earlier card and its last section, on duplicates; "" without one."""
    place = text.rfind(_EARLIER_SECTION)
    return (text, "") if place < 0 else (text[:place], text[place:])


def states_the_same(earlier: str, present: str) -> bool:
    """Return whether two cards have the same metadata, table cells and figures.

    Headings, sentences and the names of columns may differ: their wording is not compared.
    """
    return _statements(earlier) == _statements(present)


def _statements(card: str) -> tuple[Any, list[list[str]], Counter[str]]:
    """Return the metadata, the rows of all tables, and the figures in the text between them."""
    front, mark, rest = card.removeprefix("---\n").partition("\n---\n")
    if not mark or not card.startswith("---\n"):
        return None, [], Counter()
    try:
        metadata = yaml.safe_load(front)
    except yaml.YAMLError:
        metadata = None
    lines = rest.split("\n")
    prose = "\n".join(line for line in lines if not _ROW.fullmatch(line))
    return metadata, list(_table_rows(lines)), Counter(_FIGURE.findall(prose))


def _table_rows(lines: Sequence[str]) -> Iterator[list[str]]:
    """Yield the rows below each table's header, without sentences and bold labels."""
    compared: list[bool] = []
    for line, following in zip(lines, [*lines[1:], ""], strict=True):
        if not _ROW.fullmatch(line) or _RULE.fullmatch(line):
            continue
        cells = [cell.strip() for cell in line[1:-1].split("|")]
        if _RULE.fullmatch(following):
            compared = [cell != _SENTENCES for cell in cells]
        elif len(cells) == len(compared):
            yield [
                cell
                for cell, is_compared in zip(cells, compared, strict=True)
                if is_compared and not _LABEL.fullmatch(cell)
            ]
        else:
            yield cells
