"""One element's value; or why it has none, in the ledger's words."""

import json
import re
from typing import Any

import orjson

from imp_data.ledger import Mend, Reason, Repair, Verdict

# An element of an object whose values are records: its key, and where the record begins.
_BY_ID = re.compile(rb'[\s\x00]*("(?:[^"\\]|\\.)*")\s*:\s*(?=\{)', re.DOTALL)


def parse(element: bytes) -> tuple[Any, list[Mend]] | Verdict:
    """The element's value and what was mended to read it; or why it cannot be read."""
    try:
        return orjson.loads(element), []
    except orjson.JSONDecodeError as error:
        found = _BY_ID.match(element)
        if found:
            return _named(found.group(1), parse(element[found.end() :]))
        bare = element.removeprefix(b"\xef\xbb\xbf").strip(b"\0")
        return _parse_with_care(element, error) if bare == element else parse(bare)


def _named(
    key: bytes, parsed: tuple[Any, list[Mend]] | Verdict
) -> tuple[Any, list[Mend]] | Verdict:
    """A record that stood behind its id in an object: its own `id`, where it has one, holds."""
    name = parse(key)
    if isinstance(parsed, Verdict) or isinstance(name, Verdict):
        return parsed if isinstance(parsed, Verdict) else name
    value, mends = parsed
    return ({"id": name[0], **value} if isinstance(value, dict) else value), mends


def parse_exactly(element: bytes) -> Any:
    """The value with integers of any size exact (orjson makes those past 64 bits floats)."""
    found = _BY_ID.match(element)
    if found:
        return {
            "id": json.loads(found.group(1)),
            **json.loads(element[found.end() :], strict=False),
        }
    return json.loads(element, strict=False)


def _parse_with_care(
    element: bytes, first: orjson.JSONDecodeError
) -> tuple[Any, list[Mend]] | Verdict:
    """What the strict parser refused, read so that the ledger can say what is wrong with it."""
    try:
        text = element.decode("utf-8")
        value = json.loads(text, strict=False, parse_constant=_refuse_constant)
        json.dumps(value, ensure_ascii=False, allow_nan=False).encode("utf-8")
    except UnicodeDecodeError as error:
        return Verdict(Reason.NOT_UTF8, {"byte": error.start, "problem": error.reason})
    except UnicodeEncodeError as error:
        return Verdict(Reason.LONE_SURROGATE, {"found": ascii(error.object[error.start])})
    except RecursionError:
        return Verdict(Reason.TOO_DEEP, {"problem": str(first)})
    except json.JSONDecodeError as error:
        ended_early = error.pos >= len(text.rstrip()) or error.msg.startswith("Unterminated")
        reason = Reason.TRUNCATED if ended_early else Reason.NOT_JSON
        return Verdict(reason, {"problem": error.msg, "character": error.pos})
    except ValueError as error:
        return Verdict(Reason.NOT_JSON, {"problem": str(error)})
    around = text[max(first.pos - 40, 0) : first.pos + 40]
    return value, [Mend(Repair.RAW_CONTROL, around)] if _has_raw_control(text) else []


def _has_raw_control(text: str) -> bool:
    """Whether the strict reading fails; if not, a long integer was all that orjson minded."""
    try:
        json.loads(text)
    except json.JSONDecodeError:
        return True
    return False


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")
