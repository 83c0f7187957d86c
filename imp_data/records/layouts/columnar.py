"""Records of a chunk read side by side, where nothing about them calls for a second look.

What is read so is what reading each record by itself gives, at a fraction of the cost; a record in
any doubt is left to the layout's `assemble`, which knows every case.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import orjson
from pydantic import TypeAdapter, ValidationError

from imp_data.records.json_array.spans import Offsets

# What a record without the layout's form makes of an attempt to read it as if it had that form.
MISREAD = (AttributeError, KeyError, TypeError, ValidationError)


class Plain(NamedTuple):
    """Drafts column by column; human and gpt alternate in each, from human to gpt.

    `draft_of` has for each row of the chunk the Draft that it is part of, -1 where it is in doubt;
    `row_ids` what it calls itself; `passed_over` its fields that were not read, None where all rows
    have none. A Draft has `counts[n]` of the `texts`, one a turn.
    """

    draft_of: Offsets
    row_ids: Sequence[str | None]
    upstream_ids: Sequence[str]
    subsets: Sequence[str]
    images: Sequence[str | None]
    counts: Offsets
    texts: list[str]
    passed_over: Sequence[tuple[str, ...]] | None = None


def nothing_plain(rows: int) -> Plain:
    """All rows in doubt."""
    return Plain(np.full(rows, -1), [None] * rows, [], [], [], np.zeros(0, np.int64), [])


def loaded(elements: Sequence[bytes]) -> list[Any]:
    """The value of each element; None where it is no JSON, which no layout takes for a record."""
    try:
        return [orjson.loads(element) for element in elements]
    except orjson.JSONDecodeError:
        return [_value(element) for element in elements]


def _value(element: bytes) -> Any:
    try:
        return orjson.loads(element)
    except orjson.JSONDecodeError:
        return None


def fits(adapter: TypeAdapter[Any], value: Any) -> bool:
    """Whether a value has the adapter's form."""
    try:
        adapter.validate_python(value, strict=True)
    except ValidationError:
        return False
    return True
