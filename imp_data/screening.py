"""The screening stage: exclusions, benchmark pictures, broken pictures; in the order of the draw.

What can be told from a record's text and paths is told of every record. Pictures are opened in
draw order and no further than the quota needs: a refused picture gives its place to the next, so
the result is the same as if all had been screened before the draw.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from imp_data.benchmarks import Pack
from imp_data.fingerprints import Names, picture_names
from imp_data.ledger import Outcome, Reason, Verdict, evidence_json
from imp_data.looks import Looks
from imp_data.manifest import Exclusion, Mixture
from imp_data.store import arrow_batches, arrow_writer, xxh3_keys
from imp_data.verdicts import Benchmarked

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
# A draw asks for at most this many pictures at once; bounds memory, changes nothing else.
_MOST_AT_ONCE = 1 << 15

Rows = npt.NDArray[np.int64]


class Candidates(NamedTuple):
    """A source's Samples before the draw: what text alone says of each.

    `pictures` names each Sample's picture (see picture_names); `refused` has the verdicts that
    need no picture; `order` has the other rows in draw order.
    """

    pictures: Names
    refused: dict[int, Verdict]
    order: Rows


class Drawn(NamedTuple):
    """The rows that passed, in draw order, and how far down the order the draw went."""

    passed: Rows
    looked_at: int


def candidates(
    mixture: Mixture, source: str, records: Path, benchmarks: Sequence[Benchmarked]
) -> Candidates:
    """Screen a source's Samples by text and path, and put the rest into draw order."""
    exclusions = [e for e in mixture.exclusions if e.source == source]
    columns = ["id", "image", "conversations"][: 3 if exclusions else 2]
    refused: dict[int, Verdict] = {}
    names, keys, first = [np.zeros(0, np.uint64)], [np.zeros(0, np.uint64)], 0
    for batch in arrow_batches(records, columns):
        ids, images = batch.column("id").to_pylist(), batch.column("image").to_pylist()
        for row, verdict in _by_text(batch, ids, images, mixture, exclusions, benchmarks):
            refused.setdefault(first + row, verdict)
        names.append(picture_names(images))
        keys.append(np.array(xxh3_keys(mixture.seed, ids), np.uint64))
        first += len(batch)
    order = np.argsort(np.concatenate(keys), kind="stable")
    if refused:
        order = order[~np.isin(order, np.fromiter(refused, np.int64))]
    return Candidates(np.concatenate(names), refused, order)


def _by_text(
    batch: pa.RecordBatch,
    ids: Sequence[str],
    images: Sequence[str | None],
    mixture: Mixture,
    exclusions: Sequence[Exclusion],
    benchmarks: Sequence[Benchmarked],
) -> Iterator[tuple[int, Verdict]]:
    """(row of the batch, why it goes); of several reasons for a row the first is the one."""
    for exclusion in exclusions:
        for row, signs in excluded(batch, exclusion).items():
            yield row, Verdict(Reason.EXCLUDED, {"exclusion": exclusion.name, **signs})
    for benchmark in benchmarks:
        for row, image in enumerate(images):
            verdict = benchmark_id(image, benchmark.pack)
            if verdict:
                yield row, verdict
    if mixture.exact_repeats == "drop":
        for row, sample in enumerate(ids):
            if "~" in sample:
                yield row, Verdict(Reason.EXACT_REPEAT, {"of": sample.split("~")[0]})


def excluded(batch: pa.RecordBatch, exclusion: Exclusion) -> dict[int, dict[str, bool]]:
    """{row: which of the two signs it bears} of the records that an exclusion means."""
    by_image = pc.fill_null(pc.starts_with(batch.column("image"), exclusion.image_prefix), False)
    first = pc.list_element(batch.column("conversations"), 0)
    by_prompt = pc.match_substring(pc.struct_field(first, "value"), exclusion.prompt)
    either = pc.or_(by_image, by_prompt).to_numpy(zero_copy_only=False)
    return {
        row: {"image_prefix": by_image[row].as_py(), "prompt": by_prompt[row].as_py()}
        for row in np.flatnonzero(either).tolist()
    }


def benchmark_id(image: str | None, pack: Pack) -> Verdict | None:
    """Whether a picture's file name carries an id from the benchmark's own list."""
    if image is None:
        return None
    for found in pack.id_pattern.findall(image.rsplit("/", 1)[-1]):
        if found in pack.ids:
            return Verdict(Reason.BENCHMARK_ID, {"benchmark": pack.name, "id": found})
    return None


def draw(order: Rows, quota: int, passes: Callable[[Rows], npt.NDArray[np.bool_]]) -> Drawn:
    """Take rows in draw order until the quota is full; `passes` looks at some rows' pictures.

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
    return Drawn(np.concatenate([np.zeros(0, np.int64), *passed]), position)


def image_paths(records: Path, rows: Rows) -> list[str | None]:
    """The picture of each row, in the rows' order; memory holds these rows alone."""
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
    path: Path, records: Path, offered: Candidates, drawn: Drawn, looks: Looks | None
) -> dict[str, Any]:
    """Write screened/<source>.arrow, one row a Sample; returns the figures of the stage.

    Its batches are those of the records file. `looks` is None where pictures were deferred.
    """
    fate = _fates(offered, drawn, looks)
    subsets: Counter[str] = Counter()
    reasons: Counter[str] = Counter()
    first = 0
    with arrow_writer(path, SCREENED_SCHEMA) as writer:
        for batch in arrow_batches(records, ["id", "subset"]):
            here = slice(first, first + len(batch))
            verdicts = fate.verdicts(here, offered.pictures)
            rows = _screened_batch(here, batch.column("id"), fate.kept[here], verdicts)
            writer.write_batch(_with_looks(rows, offered.pictures[here], fate.kept[here], looks))
            kept = batch.column("subset").filter(pa.array(fate.kept[here]))
            subsets.update(kept.to_pylist())
            reasons.update(v.reason.value for v in verdicts if v)
            first += len(batch)
    passed = len(drawn.passed)
    return {
        "samples": first,
        "passed": passed,
        "dropped": dict(sorted(reasons.items())),
        "held": first - passed - sum(reasons.values()),
        "subsets": dict(sorted(subsets.items())),
        "excluded": _signs(offered.refused.values()),
    }


class _Fates(NamedTuple):
    """Of each row whether it is kept, and whether its picture was looked at and refused."""

    kept: npt.NDArray[np.bool_]
    broken: npt.NDArray[np.bool_]
    by_text: dict[int, Verdict]
    by_picture: dict[int, Verdict]

    def verdicts(self, here: slice, pictures: Names) -> list[Verdict | None]:
        """Why each row of a stretch was dropped; None where it was not."""
        return [
            self.by_picture[int(pictures[row])] if self.broken[row] else self.by_text.get(row)
            for row in range(here.start, here.stop)
        ]


def _fates(offered: Candidates, drawn: Drawn, looks: Looks | None) -> _Fates:
    kept = np.zeros(len(offered.pictures), np.bool_)
    kept[drawn.passed] = True
    broken = np.zeros(len(offered.pictures), np.bool_)
    broken[offered.order[: drawn.looked_at]] = True
    broken &= ~kept
    return _Fates(kept, broken, offered.refused, looks.refused if looks else {})


def _screened_batch(
    here: slice,
    ids: pa.Array,
    kept: npt.NDArray[np.bool_],
    verdicts: Sequence[Verdict | None],
) -> list[pa.Array]:
    fates = [
        (Outcome.KEPT, None) if k else (Outcome.DROPPED, v.reason) if v else _HELD
        for k, v in zip(kept.tolist(), verdicts, strict=True)
    ]
    return [
        pa.array(range(here.start, here.start + len(ids)), pa.int32()),
        ids,
        pa.array([outcome for outcome, _ in fates], pa.string()),
        pa.array([reason for _, reason in fates], pa.string()),
        pa.array([evidence_json(v.evidence) if v else None for v in verdicts], pa.string()),
    ]


_HELD = (Outcome.HELD, Reason.OVER_QUOTA)


def _with_looks(
    columns: list[pa.Array],
    pictures: Names,
    kept: npt.NDArray[np.bool_],
    looks: Looks | None,
) -> pa.RecordBatch:
    """The columns with what is known of the kept rows' pictures."""
    shown = kept & (pictures != 0)
    size = len(pictures)
    if looks is None or not shown.any():
        known = [pa.nulls(size, SCREENED_SCHEMA.field(n).type) for n in SCREENED_SCHEMA.names[-3:]]
    else:
        known = looks.columns(pictures, shown)
    return pa.RecordBatch.from_arrays([*columns, *known], schema=SCREENED_SCHEMA)


def _signs(verdicts: Iterable[Verdict]) -> dict[str, dict[str, int]]:
    """Of each exclusion: how many it took, and by how many only one of its two signs was borne."""
    signs: dict[str, dict[str, int]] = {}
    for reason, evidence in verdicts:
        if reason is Reason.EXCLUDED:
            figures = signs.setdefault(evidence["exclusion"], {"records": 0, "disagreeing": 0})
            figures["records"] += 1
            figures["disagreeing"] += evidence["image_prefix"] != evidence["prompt"]
    return signs
