"""Read plain YAML scalars by the core schema of YAML 1.2.2 (section 10.3).

PyYAML itself implements YAML 1.1, where `010` is 8, `on` is true and `1:30` is 90.
"""

import math
import re

import yaml

MAX_DIGITS = 30
Scalar = str | int | float | bool | None

_WORDS: dict[str, Scalar] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_INTEGER = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_NOT_FINITE = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_MAX_SHOWN = 40


def parse_scalar(plain: str) -> Scalar:
    """Return the value of an unquoted scalar. Raise ValueError if no field may have it."""
    if plain in _WORDS:
        return _WORDS[plain]
    if _INTEGER.fullmatch(plain):
        if len(plain) > MAX_DIGITS:
            raise ValueError(f"an integer has {len(plain):,} digits, the limit is {MAX_DIGITS}")
        base = {"0o": 8, "0x": 16}.get(plain[:2], 10)
        return int(plain, base)
    if _FLOAT.fullmatch(plain) and math.isfinite(value := float(plain)):
        return value
    if _FLOAT.fullmatch(plain) or _NOT_FINITE.fullmatch(plain):
        raise ValueError(f"{quote_short(plain)} is not a finite number; write one, or quote text")
    return plain


def yaml_1_1_value(plain: str) -> bool | int | float | None:
    """Return the boolean or number that YAML 1.1 reads where YAML 1.2 reads text; else None."""
    if len(plain) > _MAX_SHOWN or not isinstance(parse_scalar(plain), str):
        return None
    try:
        value = yaml.safe_load(plain)
    except (yaml.YAMLError, ValueError):
        return None
    return value if isinstance(value, bool | int | float) else None


def quote_short(text: str) -> str:
    """Return the text in quotes, cut if it is long, for a message."""
    return repr(text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}…")
