"""Define the columns of Drafts that a layout reads for a whole chunk at once.

The result equals that of reading each record by itself, at a fraction of the cost; records in
doubt are left to the layout's `assemble`, which handles every case.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import orjson
from pydantic import TypeAdapter, ValidationError

from imp_data.records.json_array.spans import Offsets

# Errors raised when a record without the layout's form is read as if it had that form.
LAYOUT_ERRORS = (AttributeError, KeyError, TypeError, ValidationError)


class DraftColumns(NamedTuple):
    """Drafts in columns; in each of them human and gpt alternate, from human to gpt.

    For each record of the chunk, `draft_of` holds the number of its Draft, -1 if it is in doubt;
    `row_ids` its upstream id; `ignored_fields` its fields that were not read, or None if no record
    has any. Draft n has the images `images[n]`, and `counts[n]` of the `texts`, one per turn.
    """

    draft_of: Offsets
    row_ids: Sequence[str | None]
    upstream_ids: Sequence[str]
    subsets: Sequence[str]
    images: Sequence[tuple[str, ...]]
    counts: Offsets
    texts: list[str]
    ignored_fields: Sequence[tuple[str, ...]] | None = None


def empty_columns(rows: int) -> DraftColumns:
    """Return columns in which all records are in doubt."""
    return DraftColumns(np.full(rows, -1), [None] * rows, [], [], [], np.zeros(0, np.int64), [])


def load_elements(elements: Sequence[bytes]) -> list[Any]:
    """Parse each element; None if it is not JSON (no layout accepts None as a record)."""
    try:
        return [orjson.loads(element) for element in elements]
    except orjson.JSONDecodeError:
        return [_load_element(element) for element in elements]


def _load_element(element: bytes) -> Any:
    try:
        return orjson.loads(element)
    except orjson.JSONDecodeError:
        return None


def is_valid(adapter: TypeAdapter[Any], value: Any) -> bool:
    """Return whether a value has the adapter's form."""
    try:
        adapter.validate_python(value, strict=True)
    except ValidationError:
        return False
    return True
