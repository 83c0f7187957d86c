"""Build the records stage: read upstream files, write validated Samples and the ledger."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
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
from imp_data.parallel import Crash, map_ordered
from imp_data.parallel.progress import progress
from imp_data.records.all_layouts import LAYOUTS
from imp_data.records.chunk import ChunkResult, merge_results, process_chunk, reject_chunk
from imp_data.records.record_chunk import Chunk
from imp_data.sample import record_schema, sample_id
from imp_data.storage.sorted_lookup import find_sorted
from imp_data.storage.tables import arrow_writer, parquet_writer, value_counts

_LEDGER_GROUP_ROWS = 1 << 17
_MAX_RECENT = 1 << 16
_MAX_FIELDS_SHOWN = 8

Mask = npt.NDArray[np.bool_]


def build_records(
    source: Source,
    raw: Path,
    limits: Limits,
    records: Path,
    ledger: Path,
    keep_turns: Sequence[str] = (),
    reports_only: bool = False,
    max_rows: int | None = None,
) -> dict[str, Any]:
    """Write records/<source>.arrow and ledger/<source>.parquet; return the stage's figures.

    `keep_turns` are the speakers besides human and gpt whose turns are kept. Of more than
    `max_rows` records only the first are read. Raise UserError if every record has an unread field,
    unless `reports_only`.
    """
    layout = LAYOUTS[source.layout]
    _check_ignored_fields(source, layout.fields.read)
    figures, repeats = _Figures(), _RepeatCounter()
    work = partial(process_chunk, source=source, limits=limits, keep_turns=keep_turns)
    isolate = partial(_process_one_by_one, work, source, limits)
    chunks = _first_rows(layout.chunks(raw, source, limits), max_rows)
    with (
        arrow_writer(records, record_schema(source.max_images)) as samples_out,
        parquet_writer(ledger, RECORDS_LEDGER_SCHEMA) as ledger_out,
        progress(f"records/{source.name}", "rows", source.expect.rows) as bar,
    ):
        pending: list[pa.RecordBatch] = []
        for result in map_ordered(work, chunks, None, isolate, limits.max_read_seconds):
            samples, rows = _number_samples(result, source.name, repeats, figures.samples)
            samples_out.write_batch(samples)
            pending.append(rows)
            if sum(len(p) for p in pending) >= _LEDGER_GROUP_ROWS:
                ledger_out.write_table(pa.Table.from_batches(pending))
                pending = []
            figures.add(samples, rows, result.ignored_fields)
            bar.add(len(rows))
        if pending:
            ledger_out.write_table(pa.Table.from_batches(pending))
        if not reports_only:
            _check_unread_fields(source, figures.rows, figures.unread)
    return figures.summary(repeats.count)


def _first_rows(chunks: Iterator[Chunk], max_rows: int | None) -> Iterator[Chunk]:
    """Yield chunks up to a number of records."""
    left = max_rows
    for chunk in chunks if left != 0 else ():
        if left is not None:
            chunk = chunk.select(slice(left)) if len(chunk.ordinals) > left else chunk
            left -= len(chunk.ordinals)
        yield chunk
        if left == 0:
            return


class _Figures:
    """Counts of a source's rows and Samples, by subset, reason, repair and field."""

    def __init__(self) -> None:
        self.rows = self.samples = 0
        self.unread: Counter[str] = Counter()
        self._subsets: Counter[str] = Counter()
        self._reasons: Counter[str] = Counter()
        self._repairs: Counter[str] = Counter()
        self._ignored: Counter[str] = Counter()

    def add(self, samples: pa.RecordBatch, rows: pa.RecordBatch, ignored: Counter[str]) -> None:
        """Count one chunk: its Samples, ledger rows and ignored fields."""
        self.rows += len(rows)
        self.samples += len(samples)
        self.unread.update(_count_unread_fields(rows))
        self._subsets.update(value_counts(samples.column("subset")))
        self._reasons.update(value_counts(rows.column("reason").drop_null()))
        self._repairs.update(value_counts(rows.column("repairs").flatten().field("repair")))
        self._ignored.update(ignored)

    def summary(self, repeats: int) -> dict[str, Any]:
        """Return the stage's figures."""
        return {
            "rows": self.rows,
            "samples": self.samples,
            "subsets": dict(sorted(self._subsets.items())),
            "dropped": dict(sorted(self._reasons.items())),
            "repaired": dict(sorted(self._repairs.items())),
            "exact_repeats": repeats,
            "fields_passed_over": dict(sorted(self._ignored.items())),
            "fields_unread": dict(sorted(self.unread.items())),
        }


def _process_one_by_one(
    work: Callable[[Chunk], ChunkResult], source: Source, limits: Limits, chunk: Chunk, _: Crash
) -> ChunkResult:
    """Process a chunk record by record after its worker died, to find the record that kills it."""

    def reject(one: Chunk, how: Crash) -> ChunkResult:
        endless = f"keeps its reader busy for more than {limits.max_read_seconds} s"
        problem = endless if how.too_long else "crashes its reader"
        return reject_chunk(one, source, Verdict(Reason.READER_FAILED, {"problem": problem}))

    return merge_results([*map_ordered(work, chunk.split(), None, reject, limits.max_read_seconds)])


def _check_ignored_fields(source: Source, read: frozenset[str]) -> None:
    if both := sorted(read.intersection(source.ignore_fields)):
        raise UserError(
            f"sources/{source.name}.yaml, ignore_fields",
            f"layout {source.layout} reads {', '.join(both)}, which cannot be ignored",
            "take it out of ignore_fields",
        )


def _count_unread_fields(ledger_rows: pa.RecordBatch) -> Counter[str]:
    """Count the dropped records per field that the layout does not read."""
    unread = ledger_rows.filter(pc.equal(ledger_rows.column("reason"), Reason.UNREAD_FIELD.value))
    return Counter(orjson.loads(text)["field"] for text in unread.column("evidence").to_pylist())


def _check_unread_fields(source: Source, rows: int, unread: Counter[str]) -> None:
    """Raise UserError if every record has an unread field: then the layout or manifest is wrong."""
    if not rows or unread.total() < rows:
        return
    names = ", ".join(
        f"{name} ({count:,})" for name, count in unread.most_common(_MAX_FIELDS_SHOWN)
    )
    raise UserError(
        f"records/{source.name}",
        f"all {rows:,} records have a field that layout {source.layout} does not read: {names}",
        f"if such a field carries no meaning for training, list it in the source's manifest "
        f"(ignore_fields: [{unread.most_common(1)[0][0]}]); otherwise write what it holds in the "
        "form that docs/formats.md describes",
    )


class _RepeatCounter:
    """Count occurrences of content hashes, at 8 bytes per Sample."""

    def __init__(self) -> None:
        self.count = 0
        # Both ascend. New hashes go into the short array, which keeps insertion cheap.
        self._seen = self._recent = np.zeros(0, np.uint64)
        self._occurrences: dict[int, int] = {}

    def occurrences(self, contents: npt.NDArray[np.uint64]) -> dict[int, int]:
        """Return {position in `contents`: number of the occurrence}, for repeats only."""
        values, inverse, counts = np.unique(contents, return_inverse=True, return_counts=True)
        before = (find_sorted(self._seen, values) >= 0) | (find_sorted(self._recent, values) >= 0)
        found: dict[int, int] = {}
        for position in np.flatnonzero(before[inverse] | (counts[inverse] > 1)).tolist():
            content = int(contents[position])
            times = self._occurrences.get(content, int(before[inverse[position]])) + 1
            self._occurrences[content] = times
            if times > 1:
                found[position] = times
        self._remember(values[~before])
        self.count += len(found)
        return found

    def _remember(self, values: npt.NDArray[np.uint64]) -> None:
        self._recent = np.append(self._recent, values)
        self._recent.sort()
        if len(self._recent) > _MAX_RECENT:
            self._seen = np.append(self._seen, self._recent)
            self._seen.sort(kind="stable")  # merges the two runs, which are already sorted
            self._recent = self._recent[:0]


def _number_samples(
    batch: ChunkResult, source: str, repeats: _RepeatCounter, first_sample: int
) -> tuple[pa.RecordBatch, pa.RecordBatch]:
    """Return the batch with final ids (`~2` for repeats) and file-wide Sample numbers."""
    ids = batch.samples.column("id")
    again = repeats.occurrences(batch.contents)
    if again:
        texts = ids.to_pylist()
        for position, times in again.items():
            texts[position] = sample_id(source, int(batch.contents[position]), times)
        ids = pa.array(texts, pa.string())
    samples = batch.samples.set_column(0, "id", ids)
    within = batch.ledger.column("sample")
    ledger_rows = batch.ledger.set_column(
        RECORDS_LEDGER_SCHEMA.get_field_index("id"), "id", pc.take(ids, within)
    ).set_column(
        RECORDS_LEDGER_SCHEMA.get_field_index("sample"),
        "sample",
        pc.add(within, pa.scalar(first_sample, pa.int32())),
    )
    return samples, ledger_rows
