"""What one chunk of records becomes: validated Samples, and a ledger row for every record."""

import gc
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import chain, cycle
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from imp_data.ledger import RECORDS_LEDGER_SCHEMA, AppliedRepair, Reason, Repair, Verdict
from imp_data.manifests import Limits, Source
from imp_data.records.layouts import LAYOUTS
from imp_data.records.layouts.base import Chunk, Layout
from imp_data.records.layouts.columnar import Plain
from imp_data.records.ledger_rows import Entries, Ints, ledger_rows
from imp_data.records.rules import judge
from imp_data.records.vectorized_rules import sifted
from imp_data.sample import (
    RECORD_SCHEMA,
    TURN_TYPE,
    Draft,
    Refused,
    Row,
    content_hash,
    sample_id,
)


class Batch(NamedTuple):
    """What one chunk became: Samples, their content hashes, and a ledger row an upstream record.

    In `ledger` the column `sample` counts from the chunk's first Sample. `passed_over` says in how
    many records each field stood that was not read.
    """

    samples: pa.RecordBatch
    contents: npt.NDArray[np.uint64]
    ledger: pa.RecordBatch
    passed_over: Counter[str]


class _Part(NamedTuple):
    """A Batch of some of a chunk's rows, and the ordinal of the first row of each Sample.

    `sample` is the column of that name in the ledger, -1 for a row that is in none.
    """

    samples: pa.RecordBatch
    contents: npt.NDArray[np.uint64]
    first_rows: Ints
    ledger: pa.RecordBatch
    sample: Ints
    passed_over: Counter[str]


def process(chunk: Chunk, source: Source, limits: Limits) -> Batch:
    """Read, validate and judge one chunk; a pure function, run in any process.

    Most records are read side by side and pass as they are; the others are read one by one.
    """
    with _without_collector():
        return _processed(chunk, source, limits)


@contextmanager
def _without_collector() -> Iterator[None]:
    """Parsed JSON has no cycles, but so many objects that the search for them takes long."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _processed(chunk: Chunk, source: Source, limits: Limits) -> Batch:
    layout = LAYOUTS[source.layout]
    if layout.plain is None:
        return _whole([_one_by_one(chunk, source, limits)], None)
    plain = layout.plain(chunk, source)
    fine, passed = _side_by_side(plain, chunk.ordinals, source.name, limits)
    if passed.all():
        return _whole([fine], chunk.ordinals)
    return _whole([fine, _one_by_one(chunk.only(~passed), source, limits)], chunk.ordinals)


def joined(batches: Sequence[Batch]) -> Batch:
    """The Batches of a chunk's parts as that of the chunk."""
    firsts = np.cumsum([0, *(len(batch.samples) for batch in batches)])
    parts = []
    for batch, first in zip(batches, firsts.tolist(), strict=False):
        within = pc.add(batch.ledger.column("sample"), pa.scalar(first, pa.int32()))
        place = RECORDS_LEDGER_SCHEMA.get_field_index("sample")
        parts.append(batch.ledger.set_column(place, "sample", within))
    ledger = _concatenated(parts)
    return Batch(
        _concatenated([batch.samples for batch in batches]),
        np.concatenate([batch.contents for batch in batches]),
        ledger.take(pc.sort_indices(ledger.column("ordinal"))),
        sum((batch.passed_over for batch in batches), Counter[str]()),
    )


def refused(chunk: Chunk, source: Source, verdict: Verdict) -> Batch:
    """The Batch of records that are not read, all for the same reason."""
    account = Entries()
    for ordinal in chunk.ordinals.tolist():
        account.dropped(Row(ordinal, value=None), chunk.refused.get(ordinal, verdict))
    return _whole([_part([], account, source.name)], None)


def _whole(parts: list[_Part], ordinals: Ints | None) -> Batch:
    """The parts as one: Samples in the order of the chunk's rows, the ledger in upstream's."""
    samples = _concatenated([part.samples for part in parts])
    contents = np.concatenate([part.contents for part in parts])
    ledger = _concatenated([part.ledger for part in parts])
    begins = np.cumsum([0, *(len(part.contents) for part in parts)])[:-1]
    number = np.concatenate(
        [np.where(p.sample < 0, -1, p.sample + b) for p, b in zip(parts, begins, strict=True)]
    )
    if ordinals is not None and len(parts) > 1:
        order = np.argsort(_places(ordinals, np.concatenate([p.first_rows for p in parts])))
        samples, contents = samples.take(pa.array(order)), contents[order]
        rank = np.append(np.empty(len(order), np.int64), -1)  # where -1 stays
        rank[order] = np.arange(len(order))
        number = rank[number]
    upstream = ledger.column("ordinal").to_numpy()
    if (np.diff(upstream) < 0).any():
        order = np.argsort(upstream)
        ledger, number = ledger.take(pa.array(order)), number[order]
    sample = pa.array(number.astype(np.int32), mask=number < 0)
    passed_over = sum((part.passed_over for part in parts), Counter[str]())
    return Batch(samples, contents, ledger.append_column("sample", sample), passed_over)


def _concatenated(batches: list[pa.RecordBatch]) -> pa.RecordBatch:
    return batches[0] if len(batches) == 1 else pa.concat_batches(batches)  # which would copy


def _places(ordinals: Ints, wanted: Ints) -> Ints:
    """Where in the chunk the rows of these ordinals are."""
    order = np.argsort(ordinals)
    return order[np.searchsorted(ordinals[order], wanted)]


def _side_by_side(
    plain: Plain, ordinals: Ints, source: str, limits: Limits
) -> tuple[_Part, npt.NDArray[np.bool_]]:
    """The Drafts that pass as they are, and which rows of the chunk these are made of."""
    texts, doubtful, moved = sifted(plain, limits)
    pairs = list(zip(cycle(("human", "gpt")), plain.texts, strict=False))
    ends = np.cumsum(plain.counts).tolist()
    contents = [
        content_hash(source, identity, image, pairs[begin:end])
        for identity, image, begin, end in zip(
            plain.upstream_ids, plain.images, [0, *ends], ends, strict=False
        )
    ]
    turns = pa.StructArray.from_arrays([_alternating(len(texts)), texts], fields=list(TURN_TYPE))
    columns = (plain.upstream_ids, plain.subsets, plain.images)
    samples = _samples(source, contents, *columns, np.array([0, *ends]), turns)
    hashes = np.array(contents, np.uint64)

    kept = np.append(~doubtful, False)  # for -1, the row without a Draft
    rows = np.flatnonzero(kept[plain.draft_of])
    number = (np.cumsum(kept) - 1)[plain.draft_of[rows]]
    begins = np.flatnonzero(np.diff(number, prepend=-1))
    mends = [list[AppliedRepair]()] * len(rows)
    for row, draft in zip(begins.tolist(), np.flatnonzero(kept).tolist(), strict=True):
        if draft in moved:
            mends[row] = [AppliedRepair(Repair.TOKEN_MOVED, moved[draft])]
    ids = [plain.row_ids[row] for row in rows.tolist()]
    ledger = ledger_rows(source, ordinals[rows], ids, [None] * len(rows), mends)
    if doubtful.any():
        samples, hashes = samples.filter(pa.array(~doubtful)), hashes[~doubtful]
    over = plain.passed_over
    passed_over = Counter(chain.from_iterable(over[row] for row in rows.tolist())) if over else None
    first_rows = ordinals[rows[begins]]
    part = _Part(samples, hashes, first_rows, ledger, number, passed_over or Counter())
    return part, kept[plain.draft_of]


def _one_by_one(chunk: Chunk, source: Source, limits: Limits) -> _Part:
    """Read group by group and judged by rule after rule."""
    layout = LAYOUTS[source.layout]
    drafts: list[Draft] = []
    account = Entries()
    for group in layout.groups(chunk):
        for item in _assembled(layout, group, source):
            if isinstance(item, Refused):
                account.dropped(item.row, item.verdict)
                continue
            verdict = judge(item, limits)
            account.of_draft(item, verdict, len(drafts))
            if verdict is None:
                drafts.append(item)
    return _part(drafts, account, source.name)


def _assembled(layout: Layout, group: list[Row], source: Source) -> list[Draft | Refused]:
    """What the layout makes of rows on one image; those that nest too deeply for it go."""
    try:
        return list(layout.assemble(group, source))
    except RecursionError as error:
        verdict = Verdict(Reason.TOO_DEEP, {"problem": str(error)})
        return [Refused(row, row.refused or verdict) for row in group]


def _part(drafts: Sequence[Draft], account: Entries, source: str) -> _Part:
    contents = [content_hash(source, d.upstream_id, d.image, d.turns) for d in drafts]
    turns = [turn for draft in drafts for turn in draft.turns]
    sides = [pa.array([turn[side] for turn in turns], pa.string()) for side in (0, 1)]
    samples = _samples(
        source,
        contents,
        [draft.upstream_id for draft in drafts],
        [draft.subset for draft in drafts],
        [draft.image for draft in drafts],
        np.cumsum([0, *(len(draft.turns) for draft in drafts)]),
        pa.StructArray.from_arrays(sides, fields=list(TURN_TYPE)),
    )
    first_rows = np.array([draft.rows[0].ordinal for draft in drafts], np.int64)
    hashes = np.array(contents, np.uint64)
    return _Part(samples, hashes, first_rows, *account.ledger(source), account.passed_over)


def _alternating(turns: int) -> pa.StringArray:
    """human, gpt, human, gpt…"""
    bounds = np.arange(turns + 1, dtype=np.int32) * 4
    bounds[1::2] += 1
    data = b"humangpt" * (turns // 2)
    return pa.StringArray.from_buffers(turns, pa.py_buffer(bounds), pa.py_buffer(data))


def _samples(
    source: str,
    contents: list[int],
    upstream_ids: Sequence[str],
    subsets: Sequence[str],
    images: Sequence[str | None],
    bounds: Ints,
    turns: pa.StructArray,
) -> pa.RecordBatch:
    columns = [
        pa.array([sample_id(source, content) for content in contents], pa.string()),
        pa.array([source] * len(contents), pa.string()),
        pa.array(subsets, pa.string()),
        pa.array(images, pa.string()),
        pa.ListArray.from_arrays(pa.array(bounds, pa.int32()), turns),
        pa.array(upstream_ids, pa.string()),
    ]
    return pa.RecordBatch.from_arrays(columns, schema=RECORD_SCHEMA)
