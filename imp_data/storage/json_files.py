"""Read JSON files that a user names: one object each, of bounded size."""

import json
from pathlib import Path
from typing import Any

from imp_data.errors import UserError
from imp_data.storage.small_files import read_small

# The largest such files, of tokenizers, have about 35 MB.
MOST_BYTES = 256 << 20


def read_json_object(path: Path, remedy: str, most_bytes: int = MOST_BYTES) -> dict[str, Any]:
    """Return the object that a JSON file holds.

    Raise UserError, with this remedy, if the path is no file, or the file is too large, not JSON in
    UTF-8, nested too deep, contains a number too long for Python, or holds another value.
    """
    found = parse_json(path, read_small(path, most_bytes, remedy), remedy)
    if not isinstance(found, dict):
        raise UserError(path, "holds no JSON object", remedy)
    return found


def parse_json(path: Path, content: bytes, remedy: str) -> Any:
    """Parse the content of a JSON file; see `read_json_object`."""
    try:
        return json.loads(content)
    except RecursionError:
        raise UserError(path, "is nested too deep", remedy) from None
    except ValueError as error:  # syntax, encoding, or a number of thousands of digits
        raise UserError(path, f"is not JSON ({error})", remedy) from None
