"""Hide credentials in all text that is printed, logged or stored.

Hidden are: user and password of a URL, query values that are long or whose names suggest a
credential, passwords, tokens and keys of the environment, and tokens of a known form. A secret
within a URL's path cannot be distinguished from a name.
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
# Shorter secrets would hide parts of words: most messages contain a password "a".
_SHORTEST_SECRET = 4
_SHORTEST_TOKEN = 8
# Short values such as `download=true` or `page=12` help the reader; signatures are longer.
_SHORTEST_HIDDEN_VALUE = 16

_URL = re.compile(r"(?<=://)(?:(?!://)[^\s\"'<>])+")
_USER = re.compile(r"[^/?#]*@")
# A password with a slash, which makes the URL invalid: no port follows the colon.
_USER_UNQUOTED = re.compile(r"[^/?#@:]{1,200}:(?!\d+(?:[/?#]|$)).{1,500}@")
_WORDS = (
    "sig|signature|token|key|secret|pass|passwd|password|pwd|auth|authorization|credential|"
    "credentials|policy|session|code|ticket|jwt|hash|hmac|sas|apikey|accesskey|access_token|hdnts"
)
_SUGGESTS_CREDENTIAL = re.compile(
    rf"(?:^|[_\-.])(?:{_WORDS})(?:$|[_\-.])|^x-(?:amz|goog|oss|ms)-", re.I
)
_HEADER = re.compile(
    r"\b(authorization|cookie)\b(['\"]?\s*[:=,]\s*(?-i:b?)['\"]?)([^'\"\r\n]+)", re.I
)
_KNOWN_FORMS = re.compile(r"\bhf_[A-Za-z0-9]{16,}|\bBearer\s+[A-Za-z0-9._~+/=-]{8,}")
_ENCODED_USER = re.compile(r"(?<=%3A%2F%2F)(?:(?!%2F)[^\s/?#&\"'<>]){1,2000}%40", re.I)
_NAMES_A_SECRET = re.compile(
    r"(?:^|_)(?:TOKEN|SECRET|PASSWORD|PASSWD|PASS|KEY|CREDENTIALS?|CONNECTION_STRING|SAS)(?:$|_)",
    re.I,
)
# These variables hold paths, which the reader of a message needs.
_NAMES_A_PATH = re.compile(r"_(?:FILE|PATH|DIR)$|^GOOGLE_APPLICATION_CREDENTIALS$", re.I)


def redact(text: str) -> str:
    """Return a text with credentials hidden."""
    for secret in _secrets():
        if secret in text:
            text = text.replace(secret, HIDDEN)
    text = _KNOWN_FORMS.sub(HIDDEN, _HEADER.sub(rf"\1\2{HIDDEN}", text))
    if "%3A%2F%2F" in text.upper():
        text = _ENCODED_USER.sub(f"{HIDDEN}%40", text)
    return _URL.sub(lambda found: _redact_rest(found[0]), text) if "://" in text else text


def address(url: str) -> str:
    """Return a URL that may be printed and stored, with its query hidden."""
    if "://" not in url:  # no URL, but it may contain the user part of one
        url = re.sub(r"^[^/\s]*@", f"{HIDDEN}@", url)
    plain, _, query = redact(url).partition("?")
    return f"{plain.partition('#')[0]}?{HIDDEN}" if query else plain.partition("#")[0]


def _redact_rest(rest: str) -> str:
    """Return the part of a URL after `://` with credentials hidden."""
    user = _USER.match(rest) or _USER_UNQUOTED.match(rest)
    if user:
        rest = f"{HIDDEN}@{rest[user.end() :]}"
    place, *queries = re.split(r"([?#&;])", rest)
    return place + "".join(map(_redact_field, queries))


def _redact_field(field: str) -> str:
    name, mark, value = field.partition("=")
    if not mark:
        return HIDDEN if len(name) >= _SHORTEST_HIDDEN_VALUE else name
    hidden = _SUGGESTS_CREDENTIAL.search(unquote(name)) or len(value) >= _SHORTEST_HIDDEN_VALUE
    return f"{name}={HIDDEN}" if hidden and value else field


def _secrets() -> list[str]:
    """Return the secrets of the environment, the longest first."""
    found = {spelled for secret in _in_environment() for spelled in (secret, quote(secret, ""))}
    return sorted(found, key=lambda secret: (-len(secret), secret))


def _in_environment() -> Iterator[str]:
    for name, value in os.environ.items():
        value = value.strip()
        named = _NAMES_A_SECRET.search(name) and not _NAMES_A_PATH.search(name)
        if named and len(value) >= _SHORTEST_TOKEN:
            yield value
        if "@" in value and ("://" in value or name.upper().endswith(("_PROXY", "_MIRROR"))):
            for one in re.split(r"[,\s]+", value):
                yield from _passwords(one)


def _passwords(url: str) -> Iterator[str]:
    """Yield the password of a URL, percent-encoded and decoded."""
    scheme, mark, rest = url.rpartition("://")
    try:
        netloc = urlsplit(f"{scheme}{mark}{rest}" if mark else f"//{rest}").netloc
    except ValueError:
        netloc = rest
    user, colon, password = netloc.rpartition("@")[0].partition(":")
    for secret in (password, unquote(password)) if colon else (user, unquote(user)):
        if len(secret) >= _SHORTEST_SECRET:
            yield secret


def redact_output() -> None:
    """Redact all later log records, and the traceback that ends this process."""
    redact_logs()
    sys.excepthook = _print_redacted


def redact_logs() -> None:
    """Redact all later log records of this process, of any logger."""
    if not _factories:
        _factories.append(logging.getLogRecordFactory())
        logging.setLogRecordFactory(_record)


_factories: list[Callable[..., logging.LogRecord]] = []


def _record(*args: Any, **fields: Any) -> logging.LogRecord:
    record = _factories[-1](*args, **fields)
    _redact(record)
    return record


def _redact(record: logging.LogRecord) -> None:
    try:
        message = record.getMessage()
    except (TypeError, ValueError, KeyError):
        return  # logging itself reports a message that does not match its arguments
    shown = redact(message)
    if shown != message:
        record.msg, record.args = shown, ()
    if record.exc_info and record.exc_info[1] is not None:
        # A formatter prefers this text to the exception.
        record.exc_text = redact("".join(traceback.format_exception(record.exc_info[1]))).rstrip()


def _print_redacted(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    """Print an uncaught exception as Python does, with credentials hidden."""
    text = "".join(traceback.format_exception(kind, error, trace))
    print(redact(text), file=sys.stderr, end="")
