"""Parse one element; return its value, or a verdict for the ledger."""

import json
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import orjson

from imp_data.ledger import AppliedRepair, Reason, Repair, Verdict

# An element of an object whose values are records: its key, and the start of the record.
_BY_ID = re.compile(rb'[\s\x00]*+("(?:[^"\\]++|\\.)*+")\s*+:\s*+(?=\{)', re.DOTALL)
_STRING = re.compile(r'"(?:[^"\\]++|\\.)*+"', re.DOTALL)
_STRING_OR_BRACKET = re.compile(r'"(?:[^"\\]++|\\.)*+"|[\[\]{}]', re.DOTALL)
_RAW_CONTROL = re.compile(r"[\x00-\x1f]")
_BLANK = b" \t\r\n\0"
# Brackets after a record do not belong to it.
_STRAY = " \t\r\n,[]{}"
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
# The nesting limit of orjson. The limit of Python's json depends on its version and on the depth
# of the call stack.
_MAX_LEVELS = 1024
_RECURSION = 4096


def parse(element: bytes) -> tuple[Any, list[AppliedRepair]] | Verdict:
    """Return the element's value and the repairs needed to read it, or why it is unreadable."""
    try:
        return orjson.loads(element), []
    except orjson.JSONDecodeError:
        found = _BY_ID.match(element)
        if found:
            return _add_id(found.group(1), parse(element[found.end() :]))
        return _parse_bare(_strip(element))


def _parse_bare(bare: bytes) -> tuple[Any, list[AppliedRepair]] | Verdict:
    try:
        return orjson.loads(bare), []
    except orjson.JSONDecodeError as error:
        return _parse_with_care(bare, error)


def _strip(element: bytes) -> bytes:
    """Strip a byte order mark, and the zero bytes of an incompletely written file.

    Without these, the element is returned unchanged, so that positions in evidence stay valid.
    """
    inner = element.strip(b" \t\r\n")
    if inner[:1] not in (b"\0", _BYTE_ORDER_MARK[:1]) and inner[-1:] != b"\0":
        return element
    return inner.strip(_BLANK).removeprefix(_BYTE_ORDER_MARK).strip(_BLANK)


def _add_id(
    key: bytes, parsed: tuple[Any, list[AppliedRepair]] | Verdict
) -> tuple[Any, list[AppliedRepair]] | Verdict:
    """Add the id in front of a record in an object; the record's own `id` takes precedence."""
    name = parse(key)
    if isinstance(parsed, Verdict) or isinstance(name, Verdict):
        return parsed if isinstance(parsed, Verdict) else name
    value, repairs = parsed
    return ({"id": name[0], **value} if isinstance(value, dict) else value), repairs


def parse_exactly(element: bytes) -> Any:
    """Return the value with exact integers of any size (orjson: floats above 64 bits)."""
    with _raised_recursion_limit():
        found = _BY_ID.match(element)
        if found:
            record = json.loads(element[found.end() :].rstrip(b"\0"), strict=False)
            return {"id": json.loads(found.group(1)), **record}
        return json.loads(_strip(element), strict=False)


@contextmanager
def _raised_recursion_limit() -> Iterator[None]:
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(max(limit, _RECURSION))
    try:
        yield
    finally:
        sys.setrecursionlimit(limit)


def _parse_with_care(
    element: bytes, first: orjson.JSONDecodeError
) -> tuple[Any, list[AppliedRepair]] | Verdict:
    """Parse what the strict parser rejected, to repair it or to find the reason for the ledger."""
    try:
        text = element.decode("utf-8")
        if _is_too_deep(text):
            return Verdict(Reason.TOO_DEEP, {"problem": str(first)})
        with _raised_recursion_limit():
            value = _DECODER.decode(text)
            json.dumps(value, ensure_ascii=False, allow_nan=False).encode("utf-8")
    except UnicodeDecodeError as error:
        return Verdict(Reason.NOT_UTF8, {"byte": error.start, "problem": error.reason})
    except UnicodeEncodeError as error:
        return Verdict(Reason.LONE_SURROGATE, {"found": ascii(error.object[error.start])})
    except json.JSONDecodeError as error:
        if error.msg == "Extra data" and not text[error.pos :].strip(_STRAY):
            return parse(text[: error.pos].encode())
        ended_early = error.pos >= len(text.rstrip()) or error.msg.startswith("Unterminated")
        reason = Reason.TRUNCATED if ended_early else Reason.NOT_JSON
        return Verdict(reason, {"problem": error.msg, "character": error.pos})
    except ValueError as error:
        return Verdict(Reason.NOT_JSON, {"problem": str(error).partition(";")[0]})
    around = text[max(first.pos - 40, 0) : first.pos + 40]
    return value, [AppliedRepair(Repair.RAW_CONTROL, around)] if _has_raw_control(text) else []


def _is_too_deep(text: str) -> bool:
    depth = 0
    for found in _STRING_OR_BRACKET.finditer(text):
        depth += {"[": 1, "{": 1, "]": -1, "}": -1}.get(found.group(), 0)
        if depth > _MAX_LEVELS:
            return True
    return False


def _has_raw_control(text: str) -> bool:
    """Return whether a JSON string has one; if not, orjson rejected only a long integer."""
    return any(_RAW_CONTROL.search(found.group()) for found in _STRING.finditer(text))


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


_DECODER = json.JSONDecoder(strict=False, parse_constant=_refuse_constant)
