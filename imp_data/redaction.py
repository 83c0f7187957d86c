"""Hides credentials in everything that is printed, logged or stored.

Hidden are: user and password of an address, the values of a query that are long or whose names
speak of a credential, the passwords, tokens and keys that stand in the environment, and tokens that
are known by their form. A secret within an address's path cannot be told from a name.
"""

import logging
import os
import re
import sys
import traceback
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any
from urllib.parse import quote, unquote, urlsplit

HIDDEN = "***"
# Shorter ones would hide parts of words: a password "a" stands in most messages.
_SHORTEST_SECRET = 4
_SHORTEST_TOKEN = 8
# Values such as `download=true` or `page=12` help whoever reads the address; signatures are longer.
_SHORTEST_HIDDEN_VALUE = 16

_URL = re.compile(r"(?<=://)(?:(?!://)[^\s\"'<>])+")
_USER = re.compile(r"[^/?#]*@")
# A password with a slash, which makes the address invalid: what follows the colon is no port.
_USER_UNQUOTED = re.compile(r"[^/?#@:]{1,200}:(?!\d+(?:[/?#]|$)).{1,500}@")
_WORDS = (
    "sig|signature|token|key|secret|pass|passwd|password|pwd|auth|authorization|credential|"
    "credentials|policy|session|code|ticket|jwt|hash|hmac|sas|apikey|accesskey|access_token|hdnts"
)
_TELLING = re.compile(rf"(?:^|[_\-.])(?:{_WORDS})(?:$|[_\-.])|^x-(?:amz|goog|oss|ms)-", re.I)
_HEADER = re.compile(
    r"\b(authorization|cookie)\b(['\"]?\s*[:=,]\s*(?-i:b?)['\"]?)([^'\"\r\n]+)", re.I
)
_KNOWN_FORMS = re.compile(r"\bhf_[A-Za-z0-9]{16,}|\bBearer\s+[A-Za-z0-9._~+/=-]{8,}")
_ENCODED_USER = re.compile(r"(?<=%3A%2F%2F)(?:(?!%2F)[^\s/?#&\"'<>]){1,2000}%40", re.I)
_NAMES_A_SECRET = re.compile(
    r"(?:^|_)(?:TOKEN|SECRET|PASSWORD|PASSWD|PASS|KEY|CREDENTIALS?|CONNECTION_STRING|SAS)(?:$|_)",
    re.I,
)
# They name places, and whoever reads a message needs them.
_NAMES_A_PLACE = re.compile(r"_(?:FILE|PATH|DIR)$|^GOOGLE_APPLICATION_CREDENTIALS$", re.I)


def redacted(text: str) -> str:
    """The text without credentials; the same where there are none."""
    for secret in _secrets():
        if secret in text:
            text = text.replace(secret, HIDDEN)
    text = _KNOWN_FORMS.sub(HIDDEN, _HEADER.sub(rf"\1\2{HIDDEN}", text))
    if "%3A%2F%2F" in text.upper():
        text = _ENCODED_USER.sub(f"{HIDDEN}%40", text)
    return _URL.sub(lambda found: _url(found[0]), text) if "://" in text else text


def address(url: str) -> str:
    """An address as it may be shown and stored: nothing of its query but that there is one."""
    if "://" not in url:  # it is no address then, but may hold what belongs into one
        url = re.sub(r"^[^/\s]*@", f"{HIDDEN}@", url)
    plain, _, query = redacted(url).partition("?")
    return f"{plain.partition('#')[0]}?{HIDDEN}" if query else plain.partition("#")[0]


def _url(rest: str) -> str:
    """What stands behind `://`, without credentials."""
    user = _USER.match(rest) or _USER_UNQUOTED.match(rest)
    if user:
        rest = f"{HIDDEN}@{rest[user.end() :]}"
    place, *queries = re.split(r"([?#&;])", rest)
    return place + "".join(map(_field, queries))


def _field(field: str) -> str:
    name, mark, value = field.partition("=")
    if not mark:
        return HIDDEN if len(name) >= _SHORTEST_HIDDEN_VALUE else name
    telling = _TELLING.search(unquote(name)) or len(value) >= _SHORTEST_HIDDEN_VALUE
    return f"{name}={HIDDEN}" if telling and value else field


def _secrets() -> list[str]:
    """What the environment holds that nobody may see, the longest first."""
    found = {spelled for secret in _in_environment() for spelled in (secret, quote(secret, ""))}
    return sorted(found, key=lambda secret: (-len(secret), secret))


def _in_environment() -> Iterator[str]:
    for name, value in os.environ.items():
        value = value.strip()
        named = _NAMES_A_SECRET.search(name) and not _NAMES_A_PLACE.search(name)
        if named and len(value) >= _SHORTEST_TOKEN:
            yield value
        if "@" in value and ("://" in value or name.upper().endswith(("_PROXY", "_MIRROR"))):
            for one in re.split(r"[,\s]+", value):
                yield from _passwords(one)


def _passwords(url: str) -> Iterator[str]:
    """The password of an address, as it is written there and as it is meant."""
    scheme, mark, rest = url.rpartition("://")
    try:
        netloc = urlsplit(f"{scheme}{mark}{rest}" if mark else f"//{rest}").netloc
    except ValueError:
        netloc = rest
    user, colon, password = netloc.rpartition("@")[0].partition(":")
    for secret in (password, unquote(password)) if colon else (user, unquote(user)):
        if len(secret) >= _SHORTEST_SECRET:
            yield secret


def guard() -> None:
    """From here on log records, and tracebacks that end this process, are redacted."""
    guard_logs()
    sys.excepthook = _print_redacted


def guard_logs() -> None:
    """From here on this process's log records are redacted, whoever logs them."""
    if not _makers:
        _makers.append(logging.getLogRecordFactory())
        logging.setLogRecordFactory(_record)


_makers: list[Callable[..., logging.LogRecord]] = []


def _record(*args: Any, **fields: Any) -> logging.LogRecord:
    record = _makers[-1](*args, **fields)
    _redact(record)
    return record


def _redact(record: logging.LogRecord) -> None:
    try:
        said = record.getMessage()
    except (TypeError, ValueError, KeyError):
        return  # logging itself reports a message that its arguments do not fit
    shown = redacted(said)
    if shown != said:
        record.msg, record.args = shown, ()
    if record.exc_info and record.exc_info[1] is not None:
        # A formatter takes this text where there is one.
        record.exc_text = redacted("".join(traceback.format_exception(record.exc_info[1]))).rstrip()


def _print_redacted(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    """Print an uncaught exception as Python does, without credentials."""
    text = "".join(traceback.format_exception(kind, error, trace))
    print(redacted(text), file=sys.stderr, end="")
