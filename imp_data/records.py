"""The records stage: upstream files in, validated Samples and a ledger row for every record out."""

from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from imp_data.engine import map_ordered
from imp_data.layouts import LAYOUTS
from imp_data.layouts.reading import Chunk
from imp_data.ledger import (
    RECORDS_LEDGER_SCHEMA,
    REPAIR_TYPE,
    Mend,
    Outcome,
    Stage,
    Verdict,
    evidence_json,
)
from imp_data.manifest import Limits, Source
from imp_data.progress import progress
from imp_data.rules import judge
from imp_data.sample import RECORD_SCHEMA, TURN_TYPE, Draft, Refused, Row, content_hash, sample_id
from imp_data.store import arrow_writer, parquet_writer

_LEDGER_GROUP_ROWS = 1 << 17


class Batch(NamedTuple):
    """What one chunk became: Samples, their content hashes, and a ledger row an upstream record.

    In `ledger` the column `sample` counts from the chunk's first Sample.
    """

    samples: pa.RecordBatch
    contents: npt.NDArray[np.uint64]
    ledger: pa.RecordBatch


def build_records(
    source: Source, raw: Path, limits: Limits, records: Path, ledger: Path
) -> dict[str, Any]:
    """Write records/<source>.arrow and ledger/<source>.parquet; returns the stage's figures."""
    layout = LAYOUTS[source.layout]
    subsets: Counter[str] = Counter()
    reasons: Counter[str] = Counter()
    repairs: Counter[str] = Counter()
    repeats = _Repeats()
    rows = samples = 0
    work = partial(process, source=source, limits=limits)
    with (
        arrow_writer(records, RECORD_SCHEMA) as samples_out,
        parquet_writer(ledger, RECORDS_LEDGER_SCHEMA) as ledger_out,
        progress(f"records/{source.name}", "rows", source.expect.rows) as told,
    ):
        pending: list[pa.RecordBatch] = []
        for batch in map_ordered(work, layout.chunks(raw, source)):
            numbered, account = _numbered(batch, source.name, repeats, first_sample=samples)
            samples_out.write_batch(numbered)
            pending.append(account)
            if sum(len(p) for p in pending) >= _LEDGER_GROUP_ROWS:
                ledger_out.write_table(pa.Table.from_batches(pending))
                pending = []
            rows += len(account)
            samples += len(numbered)
            subsets.update(_counts(numbered.column("subset")))
            reasons.update(_counts(account.column("reason").drop_null()))
            repairs.update(_counts(account.column("repairs").flatten().field("repair")))
            told.add(len(account))
        if pending:
            ledger_out.write_table(pa.Table.from_batches(pending))
    return {
        "rows": rows,
        "samples": samples,
        "subsets": dict(sorted(subsets.items())),
        "dropped": dict(sorted(reasons.items())),
        "repaired": dict(sorted(repairs.items())),
        "exact_repeats": repeats.count,
    }


def _counts(values: pa.Array) -> dict[str, int]:
    counted = pc.value_counts(values)
    names, numbers = counted.field("values").to_pylist(), counted.field("counts").to_pylist()
    return dict(zip(names, numbers, strict=True))


class _Repeats:
    """Which content stood before, at 8 bytes a Sample."""

    def __init__(self) -> None:
        self.count = 0
        self._seen = np.zeros(0, np.uint64)
        self._occurrences: dict[int, int] = {}

    def occurrences(self, contents: npt.NDArray[np.uint64]) -> dict[int, int]:
        """{place in `contents`: how many times it has now stood}, for repeats alone."""
        values, inverse, counts = np.unique(contents, return_inverse=True, return_counts=True)
        # What stood before ascends, so that looking up a chunk costs little however much that is.
        at = np.searchsorted(self._seen, values)
        before = np.zeros(len(values), np.bool_)
        inside = at < len(self._seen)
        before[inside] = self._seen[at[inside]] == values[inside]
        found: dict[int, int] = {}
        for place in np.flatnonzero(before[inverse] | (counts[inverse] > 1)).tolist():
            content = int(contents[place])
            times = self._occurrences.get(content, int(before[inverse[place]])) + 1
            self._occurrences[content] = times
            if times > 1:
                found[place] = times
        self._seen = np.insert(self._seen, at[~before], values[~before])
        self.count += len(found)
        return found


def _numbered(
    batch: Batch, source: str, repeats: _Repeats, first_sample: int
) -> tuple[pa.RecordBatch, pa.RecordBatch]:
    """The batch with final ids (`~2` for repeats) and Samples counted from the file's first."""
    ids = batch.samples.column("id")
    again = repeats.occurrences(batch.contents)
    if again:
        texts = ids.to_pylist()
        for place, times in again.items():
            texts[place] = sample_id(source, int(batch.contents[place]), times)
        ids = pa.array(texts, pa.string())
    samples = batch.samples.set_column(0, "id", ids)
    within = batch.ledger.column("sample")
    account = batch.ledger.set_column(
        RECORDS_LEDGER_SCHEMA.get_field_index("id"), "id", pc.take(ids, within)
    ).set_column(
        RECORDS_LEDGER_SCHEMA.get_field_index("sample"),
        "sample",
        pc.add(within, pa.scalar(first_sample, pa.int32())),
    )
    return samples, account


def process(chunk: Chunk, source: Source, limits: Limits) -> Batch:
    """Read, validate and judge one chunk; a pure function, run in any process."""
    layout = LAYOUTS[source.layout]
    drafts: list[Draft] = []
    account = _Account(source.name)
    for group in layout.groups(chunk):
        for item in layout.assemble(group, source):
            if isinstance(item, Refused):
                account.dropped(item.row, item.verdict)
                continue
            verdict = judge(item, limits)
            account.of_draft(item, verdict, len(drafts))
            if verdict is None:
                drafts.append(item)
    contents = [content_hash(source.name, d.upstream_id, d.image, d.turns) for d in drafts]
    return Batch(
        _samples(source.name, drafts, contents), np.array(contents, np.uint64), account.batch()
    )


def _samples(source: str, drafts: list[Draft], contents: list[int]) -> pa.RecordBatch:
    offsets = np.cumsum([0, *(len(draft.turns) for draft in drafts)])
    turns = [turn for draft in drafts for turn in draft.turns]
    values = pa.StructArray.from_arrays(
        [
            pa.array([speaker for speaker, _ in turns], pa.string()),
            pa.array([value for _, value in turns], pa.string()),
        ],
        fields=list(TURN_TYPE),
    )
    columns = [
        pa.array([sample_id(source, content) for content in contents], pa.string()),
        pa.array([source] * len(drafts), pa.string()),
        pa.array([draft.subset for draft in drafts], pa.string()),
        pa.array([draft.image for draft in drafts], pa.string()),
        pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), values),
        pa.array([draft.upstream_id for draft in drafts], pa.string()),
    ]
    return pa.RecordBatch.from_arrays(columns, schema=RECORD_SCHEMA)


class _Account:
    """The ledger rows of a chunk, column by column."""

    def __init__(self, source: str) -> None:
        self._source = source
        self._rows: list[Row] = []
        self._verdicts: list[Verdict | None] = []
        self._samples: list[int | None] = []

    def dropped(self, row: Row, verdict: Verdict) -> None:
        self._add(row, verdict, None)

    def of_draft(self, draft: Draft, verdict: Verdict | None, sample: int) -> None:
        """All rows of a Draft share its fate; what was mended in it is noted at its first row."""
        draft.rows[0].mends += draft.mends
        for row in draft.rows:
            self._add(row, verdict, None if verdict else sample)

    def _add(self, row: Row, verdict: Verdict | None, sample: int | None) -> None:
        self._rows.append(row)
        self._verdicts.append(verdict)
        self._samples.append(sample)

    def batch(self) -> pa.RecordBatch:
        """In upstream order within the chunk."""
        order = sorted(range(len(self._rows)), key=lambda n: self._rows[n].ordinal)
        rows = [self._rows[n] for n in order]
        verdicts = [self._verdicts[n] for n in order]
        columns = [
            pa.array([self._source] * len(rows), pa.string()),
            pa.array([row.ordinal for row in rows], pa.int64()),
            pa.array([_encodable(row.upstream_id) for row in rows], pa.string()),
            pa.nulls(len(rows), pa.string()),
            pa.array([Outcome.DROPPED if v else None for v in verdicts], pa.string()),
            pa.array([Stage.RECORDS if v else None for v in verdicts], pa.string()),
            pa.array([v.reason if v else None for v in verdicts], pa.string()),
            pa.array([evidence_json(v.evidence) if v else None for v in verdicts], pa.string()),
            _repairs([row.mends for row in rows]),
            pa.array([self._samples[n] for n in order], pa.int32()),
        ]
        return pa.RecordBatch.from_arrays(columns, schema=RECORDS_LEDGER_SCHEMA)


def _encodable(text: str | None) -> str | None:
    return text if text is None else text.encode("utf-8", "backslashreplace").decode()


def _repairs(mends: list[list[Mend]]) -> pa.Array:
    flat: Iterator[Mend] = (mend for some in mends for mend in some)
    pairs = [(str(mend.repair), mend.before) for mend in flat]
    values = pa.StructArray.from_arrays(
        [
            pa.array([p[0] for p in pairs], pa.string()),
            pa.array([p[1] for p in pairs], pa.string()),
        ],
        fields=list(REPAIR_TYPE),
    )
    offsets = np.cumsum([0, *(len(some) for some in mends)])
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), values)
