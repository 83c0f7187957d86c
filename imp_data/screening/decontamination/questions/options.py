"""Split the options off a question, whatever their labels, and name what a letter stands for."""

import re

_MARKER = re.compile(
    r"(?:^|[\s(])(?:options|choices|answer choices|possible answers|candidates)\s*(?:are)?\s*:\s*"
)
# (a) a. a) a: (1) 1. i) - and * at the beginning of a line, or after a space.
_LABEL = re.compile(r"(?:(?<=\s)|^)(?:\(([a-z]|[0-9]{1,2})\)|([a-z]|[0-9]{1,2})[.):])\s+(?=\S)")
_BULLET = re.compile(r"(?:^|\n)\s*[-*•]\s+(?=\S)")
_SEPARATORS = (r"\n+", r"\s*;\s*", r"\s*\|\s*", r"\s*,\s*(?:or\s+)?|\s+or\s+")
_LETTERS = "abcdefghijklmnopqrstuvwxyz"
_ONLY_LABEL = re.compile(r"\s*\(?([a-z]|[0-9]{1,2})[.):]?\)?\s*")


def split_options(text: str) -> tuple[str, list[str]]:
    """Return a question in lower case without its options, and these in their order.

    Options follow `Options:` or `Choices:`, or they are labelled from `a` or `1` on without a gap.
    """
    if markers := list(_MARKER.finditer(text)):
        marker = markers[-1]
        options = _labelled(text, marker.end())[1] or _separated(text[marker.end() :])
        if len(options) > 1:
            return text[: marker.start()].strip(), options
    begin, options = _labelled(text, 0)
    return (text[:begin].strip(), options) if len(options) > 1 else (text.strip(), [])


def _labelled(text: str, begin: int) -> tuple[int, list[str]]:
    """Return where labelled options begin, and the options; none if labels are out of order."""
    found: list[re.Match[str]] = []
    for match in _LABEL.finditer(text, begin):
        wanted = len(found)
        label = match[1] or match[2]
        if label in (_LETTERS[wanted : wanted + 1], str(wanted + 1)):
            found.append(match)
        elif label in ("a", "1"):
            found = [match]
    if len(found) < 2:
        bullets = list(_BULLET.finditer(text, begin))
        found = bullets
    if len(found) < 2:
        return len(text), []
    ends = [match.start() for match in found[1:]] + [len(text)]
    options = [
        text[match.end() : end].strip(" \n\t,;") for match, end in zip(found, ends, strict=True)
    ]
    return found[0].start(), options


def _separated(text: str) -> list[str]:
    """Return options without labels: by line, or by the first separator that occurs."""
    for separator in _SEPARATORS:
        parts = [part.strip(" .\n\t") for part in re.split(separator, text.strip())]
        if len(parts) > 1:
            return [part for part in parts if part]
    return []


def labelled_option(answer: str, options: tuple[str, ...]) -> str | None:
    """Return the option that an answer in lower case names by its letter or number from 1."""
    match = _ONLY_LABEL.fullmatch(answer)
    if match is None:
        return None
    place = _LETTERS.index(match[1]) if match[1] in _LETTERS else int(match[1]) - 1
    return options[place] if 0 <= place < len(options) else None
