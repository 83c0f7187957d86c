"""State in the evidence of kept Samples how often they occur in the mixture."""

import numpy as np
import numpy.typing as npt
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from imp_data.ledger import evidence_json


def copies_evidence(evidence: pa.Array, copies: npt.NDArray[np.int32]) -> pa.Array:
    """Add `copies` to the evidence of the rows that occur more than once."""
    most = int(copies.max(initial=1))
    texts = [None, None, *(evidence_json({"copies": n}) for n in range(2, most + 1))]
    added = pa.array(texts, pa.string()).take(pa.array(copies))
    both = pc.and_(evidence.is_valid(), added.is_valid())
    if both.true_count:
        rows = np.flatnonzero(both.to_numpy(zero_copy_only=False)).tolist()
        merged = [
            evidence_json({**orjson.loads(evidence[n].as_py()), "copies": int(copies[n])})
            for n in rows
        ]
        added = pc.replace_with_mask(added, both, pa.array(merged, pa.string()))
    return pc.coalesce(added, evidence)
