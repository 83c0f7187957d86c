"""What a field of a request may hold, and whether llama.cpp gets it."""

import json
import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

_SHOWN, _NAMED = 80, 200


class RequestRefused(Exception):
    """A request that is not passed on: the HTTP status, the field, what is wrong with it."""

    def __init__(self, status: int, field: str, problem: str) -> None:
        self.status, self.field, self.problem = status, _cut(field, _NAMED), problem
        super().__init__(f"{self.field}: {problem}")

    def body(self) -> dict[str, Any]:
        """As OpenAI's protocol writes an error."""
        kind = "invalid_request_error" if self.status < 500 else "server_error"
        return {"error": {"message": str(self), "type": kind, "param": self.field, "code": None}}


class FieldRule(NamedTuple):
    """The values that a field may have; `expected` completes the sentence "must be ...".

    A field that is not `forwarded` to llama.cpp changes no answer here at the values it may have.
    """

    allows: Callable[[Any], bool]
    expected: str
    forwarded: bool = False


def check_fields(
    given: Mapping[str, Any], rules: Mapping[str, FieldRule], place: str = ""
) -> dict[str, Any]:
    """The fields of `given` that llama.cpp gets; null stands for a field that is left out.

    Raises:
        Refused: a field has no rule, or a value that its rule does not allow; both are named.
    """
    sent = {}
    for name, value in given.items():
        rule = rules.get(name)
        if rule is None:
            raise RequestRefused(400, f"{place}{name}", "is not a field that this server takes")
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
    """A value as JSON, cut where it is long."""
    return _cut(json.dumps(value, ensure_ascii=False, default=str), _SHOWN)


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[:most]}…"


def number_between(low: float, high: float) -> FieldRule:
    """A number within these bounds, for llama.cpp."""
    return FieldRule(
        lambda value: _is_number(value) and low <= value <= high,
        f"a number from {low:g} to {high:g}",
        forwarded=True,
    )


def integer_between(low: int, high: int, reason: str = "") -> FieldRule:
    """A whole number within these bounds, for llama.cpp."""
    most = "" if high >= 2**31 - 1 else f" to {high}"
    return FieldRule(
        lambda value: isinstance(value, int) and _is_number(value) and low <= value <= high,
        f"a whole number from {low}{most}{reason}",
        forwarded=True,
    )


def of_type(kind: type, name: str, forwarded: bool = False) -> FieldRule:
    """Any value of a JSON type."""
    return FieldRule(lambda value: isinstance(value, kind), name, forwarded)


def only_values(*values: Any, because: str) -> FieldRule:
    """These values alone (or null), at which the field asks for nothing that is not had here."""
    told = " or ".join([*map(short_json, values), "left out"])
    # Types are compared too: JSON's 1 is not its true.
    return FieldRule(
        lambda value: any(type(value) is type(one) and value == one for one in values),
        f"{told}: {because}",
    )


def is_logit_bias(value: Any) -> bool:
    """Whether it maps the numbers of tokens to biases."""
    return isinstance(value, Mapping) and all(
        re.fullmatch(r"[0-9]{1,9}", str(token)) and _is_number(bias) and -100 <= bias <= 100
        for token, bias in value.items()
    )


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
