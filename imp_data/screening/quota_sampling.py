"""The screening stage: exclusions, benchmark images, broken images; in the order of the draw.

What can be told from a record's text and paths is told of every record. Images are opened in
draw order and no further than the quota needs: a refused image gives its place to the next, so
the result is the same as if all had been screened before the draw.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from imp_data.images.fingerprint_cache import Names
from imp_data.ledger import Outcome, Reason, Verdict, evidence_json
from imp_data.screening.image_decisions import ImageDecisions
from imp_data.screening.refusal_table import Refusals, refusals
from imp_data.screening.text_filters import Candidates, Rows
from imp_data.storage.tables import arrow_batches, arrow_writer, value_counts

SCREENED_SCHEMA = pa.schema(
    [
        pa.field("sample", pa.int32()),
        pa.field("id", pa.string()),
        pa.field("outcome", pa.string()),
        pa.field("reason", pa.string()),
        pa.field("evidence", pa.string()),
        pa.field("image_sha256", pa.string()),
        pa.field("image_width", pa.int32()),
        pa.field("image_height", pa.int32()),
    ]
)
_LOOKS = SCREENED_SCHEMA.names[-3:]
# A draw asks for at most this many images at once; bounds memory, changes nothing else.
_MOST_AT_ONCE = 1 << 15


class Drawn(NamedTuple):
    """The rows that passed, in draw order, and how far down the order the draw went."""

    passed: Rows
    looked_at: int


def draw(order: Rows, quota: int, passes: Callable[[Rows], npt.NDArray[np.bool_]]) -> Drawn:
    """Take rows in draw order until the quota is full; `passes` looks at some rows' images.

    Each round asks for no more rows than places are left, so exactly the shortest prefix that
    fills the quota is looked at.
    """
    passed: list[Rows] = []
    left, position = quota, 0
    while left and position < len(order):
        rows = order[position : position + min(left, _MOST_AT_ONCE)]
        fine = rows[passes(rows)]
        passed.append(fine)
        position += len(rows)
        left -= len(fine)
    return Drawn(np.concatenate([order[:0], *passed]), position)


def image_paths(records: Path, rows: Rows) -> list[str | None]:
    """The image of each row, in the rows' order; memory holds these rows alone."""
    ascending = np.argsort(rows, kind="stable")
    wanted = rows[ascending]
    found: list[pa.Array] = [pa.array([], pa.string())]
    first = done = 0
    for batch in arrow_batches(records, ["image"]):
        until = int(np.searchsorted(wanted, first + len(batch)))
        found.append(batch.column("image").take(pa.array(wanted[done:until] - first)))
        first, done = first + len(batch), until
    back = np.empty(len(rows), np.int64)
    back[ascending] = np.arange(len(rows))
    paths: list[str | None] = pa.concat_arrays(found).take(pa.array(back)).to_pylist()
    return paths


def write_screened(
    path: Path, records: Path, offered: Candidates, drawn: Drawn, looks: ImageDecisions | None
) -> dict[str, Any]:
    """Write screened/<source>.arrow, one row a Sample; returns the figures of the stage.

    Its batches are those of the records file. `looks` is None where images were deferred.
    """
    kept, refused = _fates(offered, drawn, looks)
    subsets: Counter[str] = Counter()
    first = 0
    with arrow_writer(path, SCREENED_SCHEMA) as writer:
        for batch in arrow_batches(records, ["id", "subset"]):
            here = slice(first, first + len(batch))
            columns = _fate_columns(here, batch.column("id"), kept[here], refused)
            if looks is not None and looks.respelled:
                found = _respelled(offered.images[here], kept[here], looks)
                columns[-1] = pc.coalesce(columns[-1], found)
            columns += _look_columns(offered.images[here], kept[here], looks)
            writer.write_batch(pa.RecordBatch.from_arrays(columns, schema=SCREENED_SCHEMA))
            of_kept = batch.column("subset").filter(pa.array(kept[here]))
            subsets.update(value_counts(of_kept))
            first += len(batch)
    passed = len(drawn.passed)
    dropped = sum((Counter(some.counts()) for some in refused), Counter[str]())
    return {
        "samples": first,
        "passed": passed,
        "dropped": dict(sorted(dropped.items())),
        "held": first - passed - dropped.total(),
        "subsets": dict(sorted(subsets.items())),
        "excluded": _signs(offered.refused.values()),
    }


def _fates(
    offered: Candidates, drawn: Drawn, looks: ImageDecisions | None
) -> tuple[npt.NDArray[np.bool_], list[Refusals]]:
    """Of each row whether it is kept; and why rows go, first for their text, then their image."""
    kept = np.zeros(len(offered.images), np.bool_)
    kept[drawn.passed] = True
    refused = [refusals(offered.refused)]
    if looks is not None:
        looked_at = offered.order[: drawn.looked_at]
        gone = looked_at[~kept[looked_at]]
        refused.append(looks.refused.on(gone, offered.images[gone]))
    return kept, refused


def _fate_columns(
    here: slice, ids: pa.Array, kept: npt.NDArray[np.bool_], refused: Sequence[Refusals]
) -> list[pa.Array]:
    """sample, id, outcome, reason, evidence of a stretch of rows."""
    size = len(kept)
    going = [some.between(here.start, here.start + size) for some in refused]
    codes = np.where(kept, 0, 1)
    for some in going:
        codes[some.keys.astype(np.int64) - here.start] = 2
    words = [(Outcome.KEPT, None), (Outcome.HELD, Reason.OVER_QUOTA), (Outcome.DROPPED, None)]
    outcome, reason = (
        pa.array(column, pa.string()).take(pa.array(codes)) for column in zip(*words, strict=True)
    )
    evidence = pa.nulls(size, pa.string())
    for some in going:
        mask = np.zeros(size, np.bool_)
        mask[some.keys.astype(np.int64) - here.start] = True
        why, shown = some.columns()
        reason = pc.replace_with_mask(reason, mask, why)
        evidence = pc.replace_with_mask(evidence, mask, shown)
    sample = pa.array(np.arange(here.start, here.start + size, dtype=np.int32))
    return [sample, ids, outcome, reason, evidence]


def _respelled(images: Names, kept: npt.NDArray[np.bool_], looks: ImageDecisions) -> pa.Array:
    """Evidence on the kept rows whose image was found under another spelling of its path."""
    evidence = np.full(len(kept), None, object)
    known = np.fromiter(looks.respelled, np.uint64)
    for row in np.flatnonzero(kept & np.isin(images, known)).tolist():
        evidence[row] = evidence_json(looks.respelled[int(images[row])])
    return pa.array(evidence, pa.string())


def _look_columns(
    images: Names, kept: npt.NDArray[np.bool_], looks: ImageDecisions | None
) -> list[pa.Array]:
    """What is known of the kept rows' images."""
    shown = kept & (images != 0)
    if looks is None or not shown.any():
        return [pa.nulls(len(kept), SCREENED_SCHEMA.field(n).type) for n in _LOOKS]
    return looks.columns(images, shown)


def _signs(verdicts: Iterable[Verdict]) -> dict[str, dict[str, int]]:
    """Of each exclusion: how many it took, and by how many only one of its two signs was borne."""
    signs: dict[str, dict[str, int]] = {}
    for reason, evidence in verdicts:
        if reason is Reason.EXCLUDED:
            figures = signs.setdefault(evidence["exclusion"], {"records": 0, "disagreeing": 0})
            figures["records"] += 1
            figures["disagreeing"] += evidence["image_prefix"] != evidence["prompt"]
    return signs
