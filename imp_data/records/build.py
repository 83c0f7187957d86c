"""The records stage: upstream files in, validated Samples and a ledger row for every record out."""

from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from imp_data.errors import UserError
from imp_data.ledger import RECORDS_LEDGER_SCHEMA, Reason, Verdict
from imp_data.manifests import Limits, Source
from imp_data.parallel import Died, map_ordered
from imp_data.parallel.progress import progress
from imp_data.records.chunk import Batch, joined, process, refused
from imp_data.records.layouts import LAYOUTS
from imp_data.records.layouts.base import Chunk
from imp_data.sample import RECORD_SCHEMA, sample_id
from imp_data.storage.sorted_lookup import find_sorted
from imp_data.storage.tables import arrow_writer, parquet_writer, value_counts

_LEDGER_GROUP_ROWS = 1 << 17
_MOST_RECENT = 1 << 16
_FIELDS_SHOWN = 8

Mask = npt.NDArray[np.bool_]


def build_records(
    source: Source, raw: Path, limits: Limits, records: Path, ledger: Path
) -> dict[str, Any]:
    """Write records/<source>.arrow and ledger/<source>.parquet; returns the stage's figures."""
    layout = LAYOUTS[source.layout]
    _refuse_to_ignore(source, layout.keys.read)
    subsets: Counter[str] = Counter()
    reasons: Counter[str] = Counter()
    repairs: Counter[str] = Counter()
    passed_over: Counter[str] = Counter()
    unread: Counter[str] = Counter()
    repeats = _Repeats()
    rows = samples = 0
    work = partial(process, source=source, limits=limits)
    alone = partial(_one_by_one, work, source, limits)
    chunks = layout.chunks(raw, source, limits)
    with (
        arrow_writer(records, RECORD_SCHEMA) as samples_out,
        parquet_writer(ledger, RECORDS_LEDGER_SCHEMA) as ledger_out,
        progress(f"records/{source.name}", "rows", source.expect.rows) as told,
    ):
        pending: list[pa.RecordBatch] = []
        for batch in map_ordered(work, chunks, None, alone, limits.max_read_seconds):
            numbered, account = _numbered(batch, source.name, repeats, first_sample=samples)
            samples_out.write_batch(numbered)
            pending.append(account)
            if sum(len(p) for p in pending) >= _LEDGER_GROUP_ROWS:
                ledger_out.write_table(pa.Table.from_batches(pending))
                pending = []
            rows += len(account)
            samples += len(numbered)
            subsets.update(value_counts(numbered.column("subset")))
            reasons.update(value_counts(account.column("reason").drop_null()))
            passed_over.update(batch.passed_over)
            unread.update(_unread_fields(account))
            repairs.update(value_counts(account.column("repairs").flatten().field("repair")))
            told.add(len(account))
        if pending:
            ledger_out.write_table(pa.Table.from_batches(pending))
        _refuse_if_all_unread(source, rows, unread)
    return {
        "rows": rows,
        "samples": samples,
        "subsets": dict(sorted(subsets.items())),
        "dropped": dict(sorted(reasons.items())),
        "repaired": dict(sorted(repairs.items())),
        "exact_repeats": repeats.count,
        "fields_passed_over": dict(sorted(passed_over.items())),
        "fields_unread": dict(sorted(unread.items())),
    }


def _one_by_one(
    work: Callable[[Chunk], Batch], source: Source, limits: Limits, chunk: Chunk, _: Died
) -> Batch:
    """A chunk that its process does not survive, record by record: one of them is the cause."""

    def failed(one: Chunk, how: Died) -> Batch:
        endless = f"keeps its reader busy for more than {limits.max_read_seconds} s"
        problem = endless if how.too_long else "crashes its reader"
        return refused(one, source, Verdict(Reason.READER_FAILED, {"problem": problem}))

    return joined([*map_ordered(work, chunk.alone(), None, failed, limits.max_read_seconds)])


def _refuse_to_ignore(source: Source, read: frozenset[str]) -> None:
    if both := sorted(read.intersection(source.ignore_fields)):
        raise UserError(
            f"sources/{source.name}.yaml, ignore_fields",
            f"layout {source.layout} reads {', '.join(both)}, which cannot be ignored",
            "take it out of ignore_fields",
        )


def _unread_fields(account: pa.RecordBatch) -> Counter[str]:
    """How many records each field cost that no layout reads."""
    unread = account.filter(pc.equal(account.column("reason"), Reason.UNREAD_FIELD.value))
    return Counter(orjson.loads(text)["field"] for text in unread.column("evidence").to_pylist())


def _refuse_if_all_unread(source: Source, rows: int, unread: Counter[str]) -> None:
    """Where every record has a field that is not read, the fault is not in the records."""
    if not rows or unread.total() < rows:
        return
    names = ", ".join(f"{name} ({count:,})" for name, count in unread.most_common(_FIELDS_SHOWN))
    raise UserError(
        f"records/{source.name}",
        f"each of its {rows:,} records has a field that layout {source.layout} does not read: "
        f"{names}",
        f"if such a field carries no meaning for training, list it in the source's manifest "
        f"(ignore_fields: [{unread.most_common(1)[0][0]}]); otherwise write what it holds in the "
        "form that docs/formats.md describes",
    )


class _Repeats:
    """Which content stood before, at 8 bytes a Sample."""

    def __init__(self) -> None:
        self.count = 0
        # Ascending. What is new goes into the short one, so that adding it costs little.
        self._seen = self._recent = np.zeros(0, np.uint64)
        self._occurrences: dict[int, int] = {}

    def occurrences(self, contents: npt.NDArray[np.uint64]) -> dict[int, int]:
        """{place in `contents`: how many times it has now stood}, for repeats alone."""
        values, inverse, counts = np.unique(contents, return_inverse=True, return_counts=True)
        before = (find_sorted(self._seen, values) >= 0) | (find_sorted(self._recent, values) >= 0)
        found: dict[int, int] = {}
        for place in np.flatnonzero(before[inverse] | (counts[inverse] > 1)).tolist():
            content = int(contents[place])
            times = self._occurrences.get(content, int(before[inverse[place]])) + 1
            self._occurrences[content] = times
            if times > 1:
                found[place] = times
        self._remember(values[~before])
        self.count += len(found)
        return found

    def _remember(self, values: npt.NDArray[np.uint64]) -> None:
        self._recent = np.append(self._recent, values)
        self._recent.sort()
        if len(self._recent) > _MOST_RECENT:
            self._seen = np.append(self._seen, self._recent)
            self._seen.sort(kind="stable")  # which merges what is in order already
            self._recent = self._recent[:0]


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
