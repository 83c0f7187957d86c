"""JSON files that a person names: one object each, read whole, within a bound."""

import json
from pathlib import Path
from typing import Any

from imp_data.errors import UserError
from imp_data.storage.small_files import read_small

# The longest of such files, tokenizers, have some 35 MB.
MOST_BYTES = 256 << 20


def json_object(path: Path, remedy: str, most_bytes: int = MOST_BYTES) -> dict[str, Any]:
    """The object that a JSON file holds.

    Raises UserError, with this remedy, if it is not a file, too long, not JSON in UTF-8, nested
    too deep or with numbers too long for Python, or if it holds something else.
    """
    found = json_value(path, read_small(path, most_bytes, remedy), remedy)
    if not isinstance(found, dict):
        raise UserError(path, "holds no JSON object", remedy)
    return found


def json_value(path: Path, content: bytes, remedy: str) -> Any:
    """What these bytes of the file say; see `json_object`."""
    try:
        return json.loads(content)
    except RecursionError:
        raise UserError(path, "is nested too deep", remedy) from None
    except ValueError as error:  # its syntax, its encoding, or a number of thousands of digits
        raise UserError(path, f"is not JSON ({error})", remedy) from None
