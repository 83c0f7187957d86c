"""Rules for the fields of a request: allowed values, and whether llama.cpp receives the field."""

import json
import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

_MAX_VALUE_CHARACTERS, _MAX_FIELD_CHARACTERS = 80, 200


class RequestRefused(Exception):
    """A request that is not forwarded: HTTP status, field, and problem."""

    def __init__(self, status: int, field: str, problem: str) -> None:
        self.status, self.problem = status, problem
        self.field = _truncate(field, _MAX_FIELD_CHARACTERS)
        super().__init__(f"{self.field}: {problem}")

    def body(self) -> dict[str, Any]:
        """Return the error object of OpenAI's protocol."""
        kind = "invalid_request_error" if self.status < 500 else "server_error"
        return {"error": {"message": str(self), "type": kind, "param": self.field, "code": None}}


class FieldRule(NamedTuple):
    """The allowed values of a field; `expected` completes the sentence "must be ...".

    A field that is not `forwarded` to llama.cpp has no effect at its allowed values.
    """

    allows: Callable[[Any], bool]
    expected: str
    forwarded: bool = False


def check_fields(
    given: Mapping[str, Any], rules: Mapping[str, FieldRule], place: str = ""
) -> dict[str, Any]:
    """Return the fields of `given` to forward to llama.cpp; null means that a field is left out.

    Raises:
        RequestRefused: a field has no rule, or a value that its rule does not allow.
    """
    sent = {}
    for name, value in given.items():
        rule = rules.get(name)
        if rule is None:
            raise RequestRefused(400, f"{place}{name}", "is not a supported field")
        if value is None:
            continue
        if not rule.allows(value):
            raise RequestRefused(
                400, f"{place}{name}", f"is {short_json(value)}, but must be {rule.expected}"
            )
        if rule.forwarded:
            sent[name] = value
    return sent


def short_json(value: Any) -> str:
    """Return the value as JSON, truncated if it is long."""
    return _truncate(json.dumps(value, ensure_ascii=False, default=str), _MAX_VALUE_CHARACTERS)


def _truncate(text: str, max_characters: int) -> str:
    return text if len(text) <= max_characters else f"{text[:max_characters]}…"


def number_between(low: float, high: float) -> FieldRule:
    """Return a rule for a forwarded number within these bounds."""
    return FieldRule(
        lambda value: _is_number(value) and low <= value <= high,
        f"a number from {low:g} to {high:g}",
        forwarded=True,
    )


def integer_between(low: int, high: int, reason: str = "") -> FieldRule:
    """Return a rule for a forwarded integer within these bounds."""
    most = "" if high >= 2**31 - 1 else f" to {high}"
    return FieldRule(
        lambda value: isinstance(value, int) and _is_number(value) and low <= value <= high,
        f"a whole number from {low}{most}{reason}",
        forwarded=True,
    )


def of_type(kind: type, name: str, forwarded: bool = False) -> FieldRule:
    """Return a rule for any value of a JSON type."""
    return FieldRule(lambda value: isinstance(value, kind), name, forwarded)


def only_values(*values: Any, because: str) -> FieldRule:
    """Return a rule for these values alone (or null), which request nothing unsupported."""
    expected = " or ".join([*map(short_json, values), "left out"])
    # Types are compared too: JSON's 1 is not its true.
    return FieldRule(
        lambda value: any(type(value) is type(one) and value == one for one in values),
        f"{expected}: {because}",
    )


def is_logit_bias(value: Any) -> bool:
    """Return whether the value maps token ids to biases from -100 to 100."""
    return isinstance(value, Mapping) and all(
        re.fullmatch(r"[0-9]{1,9}", str(token)) and _is_number(bias) and -100 <= bias <= 100
        for token, bias in value.items()
    )


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
