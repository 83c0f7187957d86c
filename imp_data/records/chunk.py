"""Turn one chunk of records into validated Samples and a ledger row for each record."""

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
from imp_data.records.all_layouts import LAYOUTS
from imp_data.records.layouts.base import Layout
from imp_data.records.layouts.columnar import DraftColumns
from imp_data.records.ledger_rows import Ints, LedgerRowBuilder, build_ledger_rows
from imp_data.records.record_chunk import Chunk
from imp_data.records.rules import repair_and_check
from imp_data.records.vectorized_rules import check_drafts
from imp_data.sample import (
    TURN_TYPE,
    Draft,
    RejectedRecord,
    UpstreamRecord,
    content_hash,
    record_schema,
    sample_id,
)


class ChunkResult(NamedTuple):
    """The result for one chunk: Samples, their content hashes, and a ledger row per record.

    Column `sample` of `ledger` counts from the chunk's first Sample. `ignored_fields` counts, for
    each field that the layout does not read, the records that have it.
    """

    samples: pa.RecordBatch
    contents: npt.NDArray[np.uint64]
    ledger: pa.RecordBatch
    ignored_fields: Counter[str]


class _Part(NamedTuple):
    """The result for some of a chunk's rows, and the ordinal of the first row of each Sample.

    `sample` holds, for each ledger row, the number of its Sample; -1 for a dropped row.
    """

    samples: pa.RecordBatch
    contents: npt.NDArray[np.uint64]
    first_rows: Ints
    ledger: pa.RecordBatch
    sample: Ints
    ignored_fields: Counter[str]


def process_chunk(
    chunk: Chunk, source: Source, limits: Limits, keep_turns: Sequence[str] = ()
) -> ChunkResult:
    """Read and validate one chunk; a pure function that runs in any process.

    `keep_turns` are the speakers besides human and gpt whose turns are kept.
    The columnar path takes the records that pass unchanged; the rest go through one by one.
    """
    with _without_garbage_collection():
        return _process_chunk(chunk, source, limits, keep_turns)


@contextmanager
def _without_garbage_collection() -> Iterator[None]:
    """Disable the garbage collector: parsed JSON has no cycles but very many objects."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _process_chunk(
    chunk: Chunk, source: Source, limits: Limits, keep_turns: Sequence[str]
) -> ChunkResult:
    layout = LAYOUTS[source.layout]
    if layout.columns is None:
        return _merge_parts([_process_rows(chunk, source, limits, keep_turns)], None)
    drafts = layout.columns(chunk, source)
    passing, passed = _process_columns(drafts, chunk.ordinals, source, limits)
    if passed.all():
        return _merge_parts([passing], chunk.ordinals)
    others = _process_rows(chunk.select(~passed), source, limits, keep_turns)
    return _merge_parts([passing, others], chunk.ordinals)


def merge_results(batches: Sequence[ChunkResult]) -> ChunkResult:
    """Merge the results of a chunk's parts into one."""
    firsts = np.cumsum([0, *(len(batch.samples) for batch in batches)])
    parts = []
    for batch, first in zip(batches, firsts.tolist(), strict=False):
        within = pc.add(batch.ledger.column("sample"), pa.scalar(first, pa.int32()))
        position = RECORDS_LEDGER_SCHEMA.get_field_index("sample")
        parts.append(batch.ledger.set_column(position, "sample", within))
    ledger = _concatenate(parts)
    return ChunkResult(
        _concatenate([batch.samples for batch in batches]),
        np.concatenate([batch.contents for batch in batches]),
        ledger.take(pc.sort_indices(ledger.column("ordinal"))),
        sum((batch.ignored_fields for batch in batches), Counter[str]()),
    )


def reject_chunk(chunk: Chunk, source: Source, verdict: Verdict) -> ChunkResult:
    """Return the result of a chunk whose records are all rejected for one reason, unread."""
    builder = LedgerRowBuilder()
    for ordinal in chunk.ordinals.tolist():
        builder.add_rejected(
            UpstreamRecord(ordinal, value=None), chunk.rejections.get(ordinal, verdict)
        )
    return _merge_parts([_part([], builder, source)], None)


def _merge_parts(parts: list[_Part], ordinals: Ints | None) -> ChunkResult:
    """Merge parts: Samples in the order of the chunk's rows, ledger rows in upstream order."""
    samples = _concatenate([part.samples for part in parts])
    contents = np.concatenate([part.contents for part in parts])
    ledger = _concatenate([part.ledger for part in parts])
    begins = np.cumsum([0, *(len(part.contents) for part in parts)])[:-1]
    number = np.concatenate(
        [np.where(p.sample < 0, -1, p.sample + b) for p, b in zip(parts, begins, strict=True)]
    )
    if ordinals is not None and len(parts) > 1:
        order = np.argsort(_positions(ordinals, np.concatenate([p.first_rows for p in parts])))
        samples, contents = samples.take(pa.array(order)), contents[order]
        rank = np.append(np.empty(len(order), np.int64), -1)  # index -1 maps to -1
        rank[order] = np.arange(len(order))
        number = rank[number]
    upstream = ledger.column("ordinal").to_numpy()
    if (np.diff(upstream) < 0).any():
        order = np.argsort(upstream)
        ledger, number = ledger.take(pa.array(order)), number[order]
    sample = pa.array(number.astype(np.int32), mask=number < 0)
    ignored_fields = sum((part.ignored_fields for part in parts), Counter[str]())
    return ChunkResult(samples, contents, ledger.append_column("sample", sample), ignored_fields)


def _concatenate(batches: list[pa.RecordBatch]) -> pa.RecordBatch:
    return batches[0] if len(batches) == 1 else pa.concat_batches(batches)  # concat copies


def _positions(ordinals: Ints, wanted: Ints) -> Ints:
    """Return the positions in the chunk of the rows with these ordinals."""
    order = np.argsort(ordinals)
    return order[np.searchsorted(ordinals[order], wanted)]


def _process_columns(
    drafts: DraftColumns, ordinals: Ints, source: Source, limits: Limits
) -> tuple[_Part, npt.NDArray[np.bool_]]:
    """Return the Drafts that pass unchanged, and a mask of the chunk's rows that they use."""
    texts, doubtful, moved = check_drafts(drafts, limits, source.max_images)
    pairs = list(zip(cycle(("human", "gpt")), drafts.texts, strict=False))
    ends = np.cumsum(drafts.counts).tolist()
    contents = [
        content_hash(source.name, identity, images, pairs[begin:end])
        for identity, images, begin, end in zip(
            drafts.upstream_ids, drafts.images, [0, *ends], ends, strict=False
        )
    ]
    turns = pa.StructArray.from_arrays([_speakers(len(texts)), texts], fields=list(TURN_TYPE))
    columns = (drafts.upstream_ids, drafts.subsets, drafts.images)
    samples = _samples_batch(source, contents, *columns, np.array([0, *ends]), turns)
    hashes = np.array(contents, np.uint64)

    kept = np.append(~doubtful, False)  # index -1: a row without a Draft
    rows = np.flatnonzero(kept[drafts.draft_of])
    number = (np.cumsum(kept) - 1)[drafts.draft_of[rows]]
    begins = np.flatnonzero(np.diff(number, prepend=-1))
    repairs = [list[AppliedRepair]()] * len(rows)
    for row, draft in zip(begins.tolist(), np.flatnonzero(kept).tolist(), strict=True):
        if draft in moved:
            repairs[row] = [AppliedRepair(Repair.TOKEN_MOVED, moved[draft])]
    ids = [drafts.row_ids[row] for row in rows.tolist()]
    ledger = build_ledger_rows(source.name, ordinals[rows], ids, [None] * len(rows), repairs)
    if doubtful.any():
        samples, hashes = samples.filter(pa.array(~doubtful)), hashes[~doubtful]
    ignored = drafts.ignored_fields
    ignored_fields = (
        Counter(chain.from_iterable(ignored[row] for row in rows.tolist())) if ignored else None
    )
    first_rows = ordinals[rows[begins]]
    part = _Part(samples, hashes, first_rows, ledger, number, ignored_fields or Counter())
    return part, kept[drafts.draft_of]


def _process_rows(chunk: Chunk, source: Source, limits: Limits, keep_turns: Sequence[str]) -> _Part:
    """Read group by group, and apply each rule to each Draft."""
    layout = LAYOUTS[source.layout]
    drafts: list[Draft] = []
    builder = LedgerRowBuilder()
    for group in layout.groups(chunk, source):
        for item in _assemble(layout, group, source):
            if isinstance(item, RejectedRecord):
                builder.add_rejected(item.row, item.verdict)
                continue
            verdict = repair_and_check(item, limits, source.max_images, keep_turns)
            builder.add_draft(item, verdict, len(drafts))
            if verdict is None:
                drafts.append(item)
    return _part(drafts, builder, source)


def _assemble(
    layout: Layout, group: list[UpstreamRecord], source: Source
) -> list[Draft | RejectedRecord]:
    """Assemble the rows of one image; reject them if they nest too deeply."""
    try:
        return list(layout.assemble(group, source))
    except RecursionError as error:
        verdict = Verdict(Reason.TOO_DEEP, {"problem": str(error)})
        return [RejectedRecord(row, row.rejection or verdict) for row in group]


def _part(drafts: Sequence[Draft], builder: LedgerRowBuilder, source: Source) -> _Part:
    contents = [content_hash(source.name, d.upstream_id, d.images, d.turns) for d in drafts]
    turns = [turn for draft in drafts for turn in draft.turns]
    sides = [pa.array([turn[side] for turn in turns], pa.string()) for side in (0, 1)]
    samples = _samples_batch(
        source,
        contents,
        [draft.upstream_id for draft in drafts],
        [draft.subset for draft in drafts],
        [draft.images for draft in drafts],
        np.cumsum([0, *(len(draft.turns) for draft in drafts)]),
        pa.StructArray.from_arrays(sides, fields=list(TURN_TYPE)),
    )
    first_rows = np.array([draft.rows[0].ordinal for draft in drafts], np.int64)
    hashes = np.array(contents, np.uint64)
    return _Part(samples, hashes, first_rows, *builder.build(source.name), builder.ignored_fields)


def _speakers(turns: int) -> pa.StringArray:
    """Return the column of speakers: human, gpt, human, gpt…"""
    bounds = np.arange(turns + 1, dtype=np.int32) * 4
    bounds[1::2] += 1
    data = b"humangpt" * (turns // 2)
    return pa.StringArray.from_buffers(turns, pa.py_buffer(bounds), pa.py_buffer(data))


def _samples_batch(
    source: Source,
    contents: list[int],
    upstream_ids: Sequence[str],
    subsets: Sequence[str],
    images: Sequence[tuple[str, ...]],
    bounds: Ints,
    turns: pa.StructArray,
) -> pa.RecordBatch:
    schema = record_schema(source.max_images)
    columns = [
        pa.array([sample_id(source.name, content) for content in contents], pa.string()),
        pa.array([source.name] * len(contents), pa.string()),
        pa.array(subsets, pa.string()),
        _images_column(images, source.max_images),
        pa.ListArray.from_arrays(pa.array(bounds, pa.int32()), turns),
        pa.array(upstream_ids, pa.string()),
    ]
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def _images_column(images: Sequence[tuple[str, ...]], max_images: int) -> pa.Array:
    """Return the images of Samples: one or null each, or a list each where there may be several."""
    if max_images > 1:
        return pa.array(images, pa.list_(pa.string()))
    return pa.array([some[0] if some else None for some in images], pa.string())
