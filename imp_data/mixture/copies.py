"""Samples that occur more than once in a mixture: a quota such as `2x` asks for copies.

The ledger has one row for each upstream record, however often its Sample occurs; its evidence
states the number of copies. The first copy has the Sample's id, the others `<id>+2`, `<id>+3`…
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from imp_data.sample import copy_id

_COPIES = r'"copies":(?P<copies>[0-9]+)'


class ExpandedIds(NamedTuple):
    """The ids of all copies, those of one Sample in sequence, and the row of each."""

    ids: pa.Array
    rows: npt.NDArray[np.int64]


def stated_copies(evidence: pa.Array) -> npt.NDArray[np.int64]:
    """Return how often each kept Sample occurs, as its evidence states; 1 if it states nothing."""
    texts = pc.struct_field(pc.extract_regex(evidence, _COPIES), "copies")
    copies: npt.NDArray[np.int64] = pc.fill_null(texts.cast(pa.int64()), 1).to_numpy()
    return copies


def expand_ids(ids: pa.Array, evidence: pa.Array) -> ExpandedIds:
    """Return the ids of all copies of kept Samples, given the Samples' ids and evidence."""
    copies = stated_copies(evidence)
    rows = np.repeat(np.arange(len(ids)), copies)
    if (copies == 1).all():
        return ExpandedIds(ids, rows)
    numbers = np.arange(len(rows)) - np.repeat(np.cumsum(copies) - copies, copies) + 1
    pairs = zip(ids.take(pa.array(rows)).to_pylist(), numbers.tolist(), strict=True)
    return ExpandedIds(pa.array([copy_id(*pair) for pair in pairs], pa.string()), rows)
