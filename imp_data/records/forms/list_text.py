"""Read lists that a column holds as text: as JSON, or as Python prints them."""

import ast
import io
import tokenize
import warnings
from typing import Any

import orjson

_ERRORS = (ValueError, SyntaxError, TypeError, MemoryError, RecursionError, tokenize.TokenError)
# Enough for any turns; the parser of Python takes about a hundred bytes for each of these.
_MOST_CHARACTERS = 1 << 20
_BETWEEN = (tokenize.NL, tokenize.NEWLINE, tokenize.COMMENT)


def read_list_text(value: Any) -> Any:
    """Return the list that a text holds, as JSON or as Python's `str`; any other value as it is.

    MMMU's options are `"['a', 'b']"`. numpy's `"['a' 'b']"`, which Python would take for one text,
    stays text.
    """
    if not isinstance(value, str) or not value.lstrip().startswith("["):
        return value
    text = value.strip()
    try:
        found = orjson.loads(text)
    except orjson.JSONDecodeError:
        found = _python_list(text)
    return found if isinstance(found, list) else value


def _python_list(text: str) -> Any:
    """Return the value of a Python literal; None if it is none."""
    if not text.endswith("]") or len(text) > _MOST_CHARACTERS or _joins_texts(text):
        return None
    try:
        with warnings.catch_warnings(action="ignore"):  # of escapes such as \d
            return ast.literal_eval(text)
    except _ERRORS:
        return None


def _joins_texts(text: str) -> bool:
    """Return whether two texts follow each other without a comma: Python would join them."""
    before = None
    try:
        for token in tokenize.generate_tokens(io.StringIO(text).readline):
            if token.type == tokenize.STRING and before == tokenize.STRING:
                return True
            before = before if token.type in _BETWEEN else token.type
    except _ERRORS:
        return True
    return False


def expand_list_text(record: dict[str, Any], name: str) -> Any:
    """Return a column of a record; if it is a list as text, the record then holds the list."""
    record[name] = read_list_text(record[name])
    return record[name]
