"""What a plain scalar of YAML means by the core schema of YAML 1.2.2 (section 10.3).

PyYAML itself reads by YAML 1.1, where `010` is 8, `on` is true and `1:30` is 90.
"""

import math
import re

import yaml

MOST_DIGITS = 30
Scalar = str | int | float | bool | None

_WORDS: dict[str, Scalar] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_INTEGER = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_NOT_FINITE = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_MOST_SHOWN = 40


def scalar(plain: str) -> Scalar:
    """The value of a scalar without quotes. Raises ValueError where no field may have it."""
    if plain in _WORDS:
        return _WORDS[plain]
    if _INTEGER.fullmatch(plain):
        if len(plain) > MOST_DIGITS:
            raise ValueError(f"an integer of {len(plain):,} digits; {MOST_DIGITS} are the most")
        base = {"0o": 8, "0x": 16}.get(plain[:2], 10)
        return int(plain, base)
    if _FLOAT.fullmatch(plain) and math.isfinite(value := float(plain)):
        return value
    if _FLOAT.fullmatch(plain) or _NOT_FINITE.fullmatch(plain):
        raise ValueError(f"{shown(plain)} is no finite number; write one, or quotes around text")
    return plain


def earlier_meaning(plain: str) -> bool | int | float | None:
    """The boolean or number that YAML 1.1 takes for what YAML 1.2 takes for text, if it does."""
    if len(plain) > _MOST_SHOWN or not isinstance(scalar(plain), str):
        return None
    try:
        value = yaml.safe_load(plain)
    except (yaml.YAMLError, ValueError):
        return None
    return value if isinstance(value, bool | int | float) else None


def shown(text: str) -> str:
    """The text as a message has it: in quotes where needed, and its beginning alone if long."""
    return repr(text if len(text) <= _MOST_SHOWN else f"{text[:_MOST_SHOWN]}…")
