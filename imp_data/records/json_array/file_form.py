"""Detect the form of a JSON file from its structure, whatever its name is.

Records are recognised by their fields. A file may have one of these forms:

* an array; also in an object (`{"data": [...]}`), in any number of enclosing objects;
* JSON Lines;
* objects by id: `{"id 1": {...}, "id 2": {...}}`;
* values one after another: pretty-printed, side by side, separated by commas or returns,
  several arrays, or an array per line.

For any other form a UserError names the form and the remedy.
"""

import re
from collections.abc import Iterator, Sequence
from itertools import islice, zip_longest
from pathlib import Path
from typing import Literal, NamedTuple

import orjson

from imp_data.errors import UserError
from imp_data.records.json_array.spans import (
    decode_object_at,
    find_record_openings,
    has_most_fields,
)
from imp_data.storage.file_kinds import detect_kind, kind_phrase

# Allowed before a file's first value: white space, and RFC 7464's separator.
_BLANK = b" \t\r\n\x1e"
_MAX_LINES_TRIED = 64
_MAX_KEYS_SHOWN = 8
_TOKEN = re.compile(r'"(?:[^"\\]++|\\.)*+"|[{}\[\]:]', re.DOTALL)
# The opening bracket of an array, or of an object with its first key, and nothing after it.
_OPENED = re.compile(r'(?:\[|\{\s*+"(?:[^"\\]++|\\.)*+"\s*+:)\s*+\Z', re.DOTALL)
_BY_ID = re.compile(r'[,}]\s*+"(?:[^"\\]++|\\.)*+"\s*+:\s*+\Z', re.DOTALL)
# The opening brackets of objects, each in the first field of the enclosing one.
_CHAIN = re.compile(r'(?:\{\s*+"(?:[^"\\]++|\\.)*+"\s*+:\s*+)++', re.DOTALL)
_LOOKBACK_BYTES = 4096
_MAX_TRIED = 8

REPLACE_FILE = "download it again, or correct it, by hand or with the program that wrote it"
_UNPACK = "unpack it into a separate file, and name that file in the manifest"
_REMEDIES = {
    "gzip": "end its name in .gz (`path` and `records` of the manifest): a build decompresses it",
    "zip": "unpack the file with the records (unzip), and name that file in the manifest",
    "tar": _UNPACK,
    "bzip2": _UNPACK,
    "xz": _UNPACK,
    "zstd": "end its name in .zst (`path` and `records` of the manifest): a build decompresses it",
    "lz4": _UNPACK,
    "utf-16": "write it as UTF-8 (iconv -f UTF-16 -t UTF-8 FILE > NEW), and name the new file",
    "utf-32": "write it as UTF-8 (iconv -f UTF-32 -t UTF-8 FILE > NEW), and name the new file",
    "git-lfs pointer": "get the file itself (git lfs pull), or download it from its address",
    "html": "open it in a browser to see why the file was not served; then download it again",
    "parquet": "write its rows as JSON Lines (polars: read_parquet(…).write_ndjson(…))",
    "arrow": "write its rows as JSON Lines (polars: read_ipc(…).write_ndjson(…))",
}

Kind = Literal["array", "by id", "lines", "values"]


class Form(NamedTuple):
    """How to read a file, and from which byte; `keys` name the objects around an array."""

    kind: Kind
    begin: int
    keys: tuple[str, ...] = ()


class _Frame(NamedTuple):
    """An open object or array: the position of its bracket, and its keys so far."""

    bracket: str
    position: int
    keys: dict[str, None]

    @property
    def key(self) -> str:
        """The last key so far."""
        return next(reversed(self.keys))


def detect_form(path: Path, head: bytes, fields: frozenset[str], key: str | None = None) -> Form:
    """Detect the form of the file that begins with `head`. Raises UserError for an unknown form.

    `fields` are those that every record has; if empty, any object is a record. `key` names the
    preferred array in an object.
    """
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip(_BLANK)
    begin = len(head) - len(text)
    kind = detect_kind(head)
    if text[:1] == b"[" and kind in ("json", None):
        return Form("array", begin + 1)
    if text[:1] != b"{" or kind not in ("json", None):
        raise _not_json_error(path, head, text, kind)
    if any(_is_record(value, fields) for value in _lines(text) if fields):
        return Form("lines", begin)
    if key is not None and (found := re.search(rb'"' + key.encode() + rb'"\s*:\s*\[', head)):
        return Form("array", found.end(), (key,))
    return _form_by_fields(path, head, begin, fields, key)


def _form_by_fields(
    path: Path, head: bytes, begin: int, fields: frozenset[str], key: str | None
) -> Form:
    """Detect the form from the position of the first record in the head."""
    text = head.decode("latin-1")  # one character per byte
    records = find_record_openings(text[begin:], fields) if fields else []
    element = _first_element(text, begin, records, fields)
    if element is not None:
        return _form_by_context(path, text, begin, element)
    beside = _is_beside_others(text, begin, records, fields)
    around = find_first_record(text, begin, fields) if fields and not beside else None
    if around is not None:
        return _form_around(path, around, begin)
    if not records and (key is not None or (fields and _count_objects(text, begin) < 2)):
        raise _no_records_error(path, text, begin, fields, key)
    in_lines = any(isinstance(value, dict) for value in _lines(head[begin:]))
    return Form("lines" if in_lines else "values", begin)


def _first_element(
    text: str, begin: int, records: Sequence[str], fields: frozenset[str]
) -> int | None:
    """Return the start of the first element of an array or object, if it begins as records do.

    The element may be damaged. Returns None if this does not settle the form.
    """
    if not records:
        return None
    pattern = re.compile("|".join(map(re.escape, records)))
    positions = [found.start() for found in islice(pattern.finditer(text, begin), _MAX_TRIED)]
    for position, following in zip_longest(positions, positions[1:]):
        value = decode_object_at(text, position)
        if value is not None and not _is_record(value, fields):
            continue
        before = text[max(position - _LOOKBACK_BYTES, begin) : position].rstrip()[-1:]
        if before == ":" and value is None:
            # A damaged record after its id, if the next record has one too; else undecided.
            sibling = following and _BY_ID.search(
                text, max(following - _LOOKBACK_BYTES, position), following
            )
            return position if sibling else None
        return None if before in ("", "}", "]", ",", '"') else position
    return None


def _is_beside_others(
    text: str, begin: int, records: Sequence[str], fields: frozenset[str]
) -> bool:
    """Return whether the text begins with a record, even a damaged one, and another follows it."""
    if not text.startswith(tuple(records), begin):
        return False
    pattern = re.compile("|".join(map(re.escape, records)))
    for found in islice(pattern.finditer(text, begin + 1), _MAX_TRIED):
        before = text[max(found.start() - _LOOKBACK_BYTES, begin) : found.start()]
        if before.rstrip(" \t\r\n,\x1e")[-1:] == "}":
            return _is_record(decode_object_at(text, found.start()), fields)
    return False


def _form_by_context(path: Path, text: str, begin: int, element: int) -> Form:
    """Detect the form from the text before the first element."""
    back = max(element - _LOOKBACK_BYTES, begin)
    if _BY_ID.search(text, back, element) and (chain := _CHAIN.match(text, begin)):
        return Form("by id", begin + chain.group().rindex("{") + 1)  # an earlier one is damaged
    if text[back:element].rstrip()[-1:] not in ("[", ":"):
        return Form("array", element)  # the array's bracket is damaged
    around = list[_Frame]()
    for frames, _ in _iter_keys(text[:element] + '{"":', begin):
        around = frames[:-1]
    opening = _OPENED.search(text, back, element)
    if opening and not (around and around[-1].position == opening.start()):
        # The text before the opening is damaged.
        return Form("array" if opening.group()[0] == "[" else "by id", opening.start() + 1)
    return _form_around(path, around, begin)


def _form_around(path: Path, around: list[_Frame], begin: int) -> Form:
    """Return the form of a file from the frames around its first record."""
    *outer, last = around or [_Frame("", begin, {})]
    if not around:
        return Form("values", begin)
    if any(frame.bracket == "[" for frame in outer):
        steps = "".join("[…]" if f.bracket == "[" else f".{f.key}" for f in around)
        problem = f"holds its records in lists within a list, at {steps.lstrip('.')}"
        raise UserError(path, problem, "write all records as one array, or as JSON Lines")
    return Form("array" if last.bracket == "[" else "by id", last.position + 1, keys_around(around))


def keys_around(around: list[_Frame]) -> tuple[str, ...]:
    """Return the keys that lead to a value, outermost first, without positions in arrays."""
    return tuple(frame.key for frame in around if frame.keys)


def _is_record(value: object, fields: frozenset[str]) -> bool:
    return isinstance(value, dict) and has_most_fields(fields, value)


def _lines(text: bytes) -> Iterator[object]:
    """Yield the values of the first lines that are JSON."""
    for line in text.split(b"\n", _MAX_LINES_TRIED)[:_MAX_LINES_TRIED]:
        try:
            yield orjson.loads(line)
        except orjson.JSONDecodeError:
            continue


def find_first_record(text: str, begin: int, fields: frozenset[str]) -> list[_Frame] | None:
    """Return the frames around the first record from `begin` on, outermost first; None without."""
    for frames, key in _iter_keys(text, begin):
        if key in fields and 2 * sum(name in frames[-1].keys for name in fields) > len(fields):
            return frames[:-1]
    return None


def _iter_keys(text: str, begin: int) -> Iterator[tuple[list[_Frame], str]]:
    """Yield each key with the open frames, its object last; the list is modified in place."""
    stack: list[_Frame] = []
    string = ""
    for token in _TOKEN.finditer(text, begin):
        found = token.group()
        if found in "{[":
            stack.append(_Frame(found, token.start(), {}))
        elif found in "}]":
            if stack:
                stack.pop()
        elif found == ":" and stack and stack[-1].bracket == "{":
            stack[-1].keys[string] = None
            yield stack, string
        else:
            string = found[1:-1]


def _count_objects(text: str, begin: int) -> int:
    """Count the outermost objects in the text, up to two."""
    opened = depth = 0
    for token in _TOKEN.finditer(text, begin):
        depth += {"{": 1, "[": 1, "}": -1, "]": -1}.get(token.group(), 0)
        opened += token.group() == "{" and depth == 1
        if opened == 2:
            break
    return opened


def _not_json_error(path: Path, head: bytes, text: bytes, kind: str | None) -> UserError:
    if not text:
        return UserError(path, "is empty: it holds no JSON", REPLACE_FILE)
    if kind in (None, "json"):
        problem = f"is neither a JSON array nor JSON Lines: begins {text[:16]!r}"
        return UserError(path, problem, REPLACE_FILE)
    return UserError(
        path, f"is {kind_phrase(kind)}, not JSON text", _REMEDIES.get(kind, REPLACE_FILE)
    )


def _no_records_error(
    path: Path, text: str, begin: int, fields: frozenset[str], key: str | None
) -> UserError:
    if key is not None and not fields:
        return UserError(path, f'has no "{key}": [ … ]', REPLACE_FILE)
    outermost = (key for frames, key in _iter_keys(text, begin) if len(frames) == 1)
    shown = ", ".join(islice(outermost, _MAX_KEYS_SHOWN)) or "without fields"
    wanted = ", ".join(sorted(fields))
    problem = f"is one JSON object ({shown}) in which no record is found: none with {wanted}"
    return UserError(
        path, problem, "write its records as an array or as JSON Lines, with these fields"
    )
