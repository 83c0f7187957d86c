"""The form of a JSON file, found from its structure: where its records are, whatever its name says.

Records are told from what stands around them by their fields. In one of these forms a file is read:

* an array; also in an object (`{"data": [...]}`), however many objects stand around it;
* JSON Lines;
* objects by id: `{"id 1": {...}, "id 2": {...}}`;
* values one after another: pretty-printed, side by side, with commas or returns between them,
  several arrays, or an array a line.

Of any other form a UserError gives the name, and the step that helps.
"""

import re
from collections.abc import Iterator, Sequence
from itertools import islice, zip_longest
from pathlib import Path
from typing import Literal, NamedTuple

import orjson

from imp_data.errors import UserError
from imp_data.records.json_array.spans import has_most, object_at, record_openings
from imp_data.storage.file_kinds import described, file_kind

# What may stand before a file's first value: white space, and RFC 7464's separator.
_BLANK = b" \t\r\n\x1e"
_LINES_TRIED = 64
_KEYS_SHOWN = 8
_TOKEN = re.compile(r'"(?:[^"\\]++|\\.)*+"|[{}\[\]:]', re.DOTALL)
# The bracket of an array, or of an object with its first key, and nothing after it.
_OPENED = re.compile(r'(?:\[|\{\s*+"(?:[^"\\]++|\\.)*+"\s*+:)\s*+\Z', re.DOTALL)
_BY_ID = re.compile(r'[,}]\s*+"(?:[^"\\]++|\\.)*+"\s*+:\s*+\Z', re.DOTALL)
# The brackets of objects, each in the first field of the one around it.
_CHAIN = re.compile(r'(?:\{\s*+"(?:[^"\\]++|\\.)*+"\s*+:\s*+)++', re.DOTALL)
_LOOKED_BACK = 4096
_TRIED = 8

ANEW = "fetch it anew, or correct it, by hand or with the program that wrote it"
_UNPACK = "unpack it into a file of its own, and name that file in the manifest"
_REMEDIES = {
    "gzip": "unpack it (gunzip --keep FILE), and name the unpacked file in the manifest",
    "zip": "unpack the file with the records (unzip), and name that file in the manifest",
    "tar": _UNPACK,
    "bzip2": _UNPACK,
    "xz": _UNPACK,
    "zstd": _UNPACK,
    "lz4": _UNPACK,
    "utf-16": "write it as UTF-8 (iconv -f UTF-16 -t UTF-8 FILE > NEW), and name the new file",
    "utf-32": "write it as UTF-8 (iconv -f UTF-32 -t UTF-8 FILE > NEW), and name the new file",
    "git-lfs pointer": "get the file itself (git lfs pull), or fetch it from its address",
    "html": "open it in a browser: it says why the file was not served; then fetch it anew",
    "parquet": "write its rows as JSON Lines (polars: read_parquet(…).write_ndjson(…))",
    "arrow": "write its rows as JSON Lines (polars: read_ipc(…).write_ndjson(…))",
}

Kind = Literal["array", "by id", "lines", "values"]


class Form(NamedTuple):
    """How a file is read, from which byte on; `keys` name the objects around an array."""

    kind: Kind
    begin: int
    keys: tuple[str, ...] = ()


class _Frame(NamedTuple):
    """An object or array that is open: its bracket's place, and the keys met in it so far."""

    bracket: str
    place: int
    keys: dict[str, None]

    @property
    def key(self) -> str:
        """The key met last."""
        return next(reversed(self.keys))


def form_of(path: Path, head: bytes, fields: frozenset[str], key: str | None = None) -> Form:
    """The form of the file that begins with `head`. Raises UserError where it is none of ours.

    `fields` are those that every record has; none: any object is a record. `key` names an array
    that is preferred to others in the same object.
    """
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip(_BLANK)
    begin = len(head) - len(text)
    kind = file_kind(head)
    if text[:1] == b"[" and kind in ("json", None):
        return Form("array", begin + 1)
    if text[:1] != b"{" or kind not in ("json", None):
        raise _no_json(path, head, text, kind)
    if any(_is_record(value, fields) for value in _lines(text) if fields):
        return Form("lines", begin)
    if key is not None and (found := re.search(rb'"' + key.encode() + rb'"\s*:\s*\[', head)):
        return Form("array", found.end(), (key,))
    return _form_by_fields(path, head, begin, fields, key)


def _form_by_fields(
    path: Path, head: bytes, begin: int, fields: frozenset[str], key: str | None
) -> Form:
    """The form as the place of the first record in the head shows it."""
    text = head.decode("latin-1")  # a character a byte
    records = record_openings(text[begin:], fields) if fields else []
    element = _first_element(text, begin, records, fields)
    if element is not None:
        return _form_before(path, text, begin, element)
    beside = _is_beside_others(text, begin, records, fields)
    around = first_record(text, begin, fields) if fields and not beside else None
    if around is not None:
        return _form_around(path, around, begin)
    if not records and (key is not None or (fields and _objects_in(text, begin) < 2)):
        raise _no_records(path, text, begin, fields, key)
    in_lines = any(isinstance(value, dict) for value in _lines(head[begin:]))
    return Form("lines" if in_lines else "values", begin)


def _first_element(
    text: str, begin: int, records: Sequence[str], fields: frozenset[str]
) -> int | None:
    """Where the first element of an array or object begins as records do; it may be damaged.

    None where that cannot be told so.
    """
    if not records:
        return None
    pattern = re.compile("|".join(map(re.escape, records)))
    places = [found.start() for found in islice(pattern.finditer(text, begin), _TRIED)]
    for place, following in zip_longest(places, places[1:]):
        value = object_at(text, place)
        if value is not None and not _is_record(value, fields):
            continue
        before = text[max(place - _LOOKED_BACK, begin) : place].rstrip()[-1:]
        if before == ":" and value is None:
            # A damaged one by its id, if the next stands there too; else what stands around all.
            sibling = following and _BY_ID.search(
                text, max(following - _LOOKED_BACK, place), following
            )
            return place if sibling else None
        return None if before in ("", "}", "]", ",", '"') else place
    return None


def _is_beside_others(
    text: str, begin: int, records: Sequence[str], fields: frozenset[str]
) -> bool:
    """Whether it begins as a record does, be that damaged, and another one follows behind it."""
    if not text.startswith(tuple(records), begin):
        return False
    pattern = re.compile("|".join(map(re.escape, records)))
    for found in islice(pattern.finditer(text, begin + 1), _TRIED):
        before = text[max(found.start() - _LOOKED_BACK, begin) : found.start()]
        if before.rstrip(" \t\r\n,\x1e")[-1:] == "}":
            return _is_record(object_at(text, found.start()), fields)
    return False


def _form_before(path: Path, text: str, begin: int, element: int) -> Form:
    """The form as what stands before the first element shows it."""
    back = max(element - _LOOKED_BACK, begin)
    if _BY_ID.search(text, back, element) and (chain := _CHAIN.match(text, begin)):
        return Form("by id", begin + chain.group().rindex("{") + 1)  # one before it is damaged
    if text[back:element].rstrip()[-1:] not in ("[", ":"):
        return Form("array", element)  # its bracket is damaged
    around = list[_Frame]()
    for frames, _ in _keys_met(text[:element] + '{"":', begin):
        around = frames[:-1]
    opening = _OPENED.search(text, back, element)
    if opening and not (around and around[-1].place == opening.start()):
        # What stands before that is damaged.
        return Form("array" if opening.group()[0] == "[" else "by id", opening.start() + 1)
    return _form_around(path, around, begin)


def _form_around(path: Path, around: list[_Frame], begin: int) -> Form:
    """The form of a file whose first record stands in these."""
    *outer, last = around or [_Frame("", begin, {})]
    if not around:
        return Form("values", begin)
    if any(frame.bracket == "[" for frame in outer):
        steps = "".join("[…]" if f.bracket == "[" else f".{f.key}" for f in around)
        problem = f"holds its records in lists within a list, at {steps.lstrip('.')}"
        raise UserError(path, problem, "write all records as one array, or as JSON Lines")
    return Form("array" if last.bracket == "[" else "by id", last.place + 1, keys_of(around))


def keys_of(around: list[_Frame]) -> tuple[str, ...]:
    """The keys under which something stands, outermost first; places in arrays are left out."""
    return tuple(frame.key for frame in around if frame.keys)


def _is_record(value: object, fields: frozenset[str]) -> bool:
    return isinstance(value, dict) and has_most(fields, value)


def _lines(text: bytes) -> Iterator[object]:
    """The values of the first lines that are JSON."""
    for line in text.split(b"\n", _LINES_TRIED)[:_LINES_TRIED]:
        try:
            yield orjson.loads(line)
        except orjson.JSONDecodeError:
            continue


def first_record(text: str, begin: int, fields: frozenset[str]) -> list[_Frame] | None:
    """What stands around the first record from `begin` on, outermost first; None without one."""
    for frames, key in _keys_met(text, begin):
        if key in fields and 2 * sum(name in frames[-1].keys for name in fields) > len(fields):
            return frames[:-1]
    return None


def _keys_met(text: str, begin: int) -> Iterator[tuple[list[_Frame], str]]:
    """Each key of an object, with what is open there, that object last; it changes on the way."""
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


def _objects_in(text: str, begin: int) -> int:
    """How many outermost objects begin in the text; two are as good as more."""
    opened = depth = 0
    for token in _TOKEN.finditer(text, begin):
        depth += {"{": 1, "[": 1, "}": -1, "]": -1}.get(token.group(), 0)
        opened += token.group() == "{" and depth == 1
        if opened == 2:
            break
    return opened


def _no_json(path: Path, head: bytes, text: bytes, kind: str | None) -> UserError:
    if not text:
        return UserError(path, "is empty: it holds no JSON", ANEW)
    if kind in (None, "json"):
        problem = f"is neither a JSON array nor JSON Lines: begins {text[:16]!r}"
        return UserError(path, problem, ANEW)
    return UserError(path, f"is {described(kind)}, not JSON text", _REMEDIES.get(kind, ANEW))


def _no_records(
    path: Path, text: str, begin: int, fields: frozenset[str], key: str | None
) -> UserError:
    if key is not None and not fields:
        return UserError(path, f'has no "{key}": [ … ]', ANEW)
    outermost = (key for frames, key in _keys_met(text, begin) if len(frames) == 1)
    shown = ", ".join(islice(outermost, _KEYS_SHOWN)) or "without fields"
    wanted = ", ".join(sorted(fields))
    problem = f"is one JSON object ({shown}) in which no record is found: none with {wanted}"
    return UserError(
        path, problem, "write its records as an array or as JSON Lines, with these fields"
    )
