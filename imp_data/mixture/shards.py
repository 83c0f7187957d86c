"""Shuffle the kept rows of many files into shards, with one bucket of rows in memory.

Workers first scatter pieces of the inputs, each into a file with its rows sorted by bucket; then
they assemble each shard bucket by bucket, from the parts in all the files.
"""

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from imp_data.ledger import Outcome
from imp_data.mixture.arrow_dataset import BATCH_ROWS, write_shard_in_parts
from imp_data.mixture.copies import expand_ids
from imp_data.mixture.ledger_writer import SourceInputs
from imp_data.parallel import map_ordered
from imp_data.parallel.progress import progress
from imp_data.sample import SAMPLE_SCHEMA, image_lists
from imp_data.storage.digests import file_sha256, xxh3_keys
from imp_data.storage.scratch_batches import Block, read_block, write_block
from imp_data.storage.tables import read_batches

# Rows of a bucket: whole batches of a shard, so that its bytes do not depend on the buckets.
_BUCKET_ROWS = 10 * BATCH_ROWS
# Rows that a worker scatters at a time.
_PIECE_ROWS = 1 << 14
_IMAGE_COLUMNS = ["image_sha256", "image_width", "image_height"]
_PLACE = pa.field("place", pa.int32())

Places = npt.NDArray[np.int32]


class _Span(NamedTuple):
    """Record batches `first` to `last` - 1 of a source, with `rows` kept rows in all."""

    source: SourceInputs
    first: int
    last: int
    rows: int


class _Piece(NamedTuple):
    """A span, the places of its kept rows in the mixture, and the file to scatter them to."""

    span: _Span
    places: Places
    buckets: Path


class _Scattered(NamedTuple):
    """A file of batches, the number of the bucket of each, and its place in the file."""

    buckets: Path
    numbers: npt.NDArray[np.int64]
    blocks: list[Block]


class _Shard(NamedTuple):
    """A shard to assemble from its buckets."""

    path: Path
    buckets: list[list[Block]]


def shard_names(total: int, shard_rows: int) -> list[str]:
    """Return the shards' file names; at least one, so that an empty mixture opens as well."""
    count = max(-(-total // shard_rows), 1)
    return [f"data-{n:05d}-of-{count:05d}.arrow" for n in range(count)]


def write_shards(
    folder: Path,
    sources: Sequence[SourceInputs],
    seed: int,
    shard_rows: int,
    here: bool = False,
    schema: pa.Schema = SAMPLE_SCHEMA,
) -> tuple[int, dict[str, str]]:
    """Write the shards; return the number of kept rows, and {file: sha256}.

    `here`: no other machine can read the folder. `schema` is that of Samples, of either form.
    """
    spans, places = _assign_places(sources, seed)
    names = shard_names(len(places), shard_rows)
    buckets = folder / "buckets"
    buckets.mkdir()
    bounds = np.cumsum([0, *(span.rows for span in spans)])
    pieces = (
        _Piece(span, places[begin:end], buckets / f"{number}.arrow")
        for number, (span, begin, end) in enumerate(zip(spans, bounds, bounds[1:], strict=False))
    )
    scatter = partial(_scatter, shard_rows=shard_rows, schema=schema)
    scattered: list[_Scattered] = []
    with progress("mixture", "samples", len(places)) as bar:
        for some in map_ordered(scatter, pieces, here=here):
            scattered.append(some)
            bar.add(spans[len(scattered) - 1].rows)
    shards = _plan_shards(folder, names, scattered, -(-shard_rows // _BUCKET_ROWS))
    assemble = partial(_assemble, schema=schema)
    digests = dict(zip(names, map_ordered(assemble, shards, here=here), strict=True))
    for some in scattered:
        some.buckets.unlink()
    buckets.rmdir()
    return len(places), digests


def _assign_places(sources: Sequence[SourceInputs], seed: int) -> tuple[list[_Span], Places]:
    """Return spans of all sources, and the places of their kept rows, ordered by xxh3(seed, id).

    Memory: 20 bytes for each kept row.
    """
    spans: list[_Span] = []
    keys = bytearray()
    columns = ["id", "outcome", "evidence"]
    for source in sources:
        first = rows = last = 0
        for last, batch in enumerate(read_batches(source.screened, columns), start=1):
            kept = batch.filter(pc.equal(batch.column("outcome"), Outcome.KEPT))
            ids = expand_ids(kept.column("id"), kept.column("evidence")).ids
            keys += np.array(xxh3_keys(seed, ids.to_pylist()), np.uint64).tobytes()
            rows += len(ids)
            if rows >= _PIECE_ROWS:
                spans.append(_Span(source, first, last, rows))
                first, rows = last, 0
        if rows:
            spans.append(_Span(source, first, last, rows))
    ranked = np.argsort(np.frombuffer(keys, np.uint64), kind="stable")
    places = np.empty(len(ranked), np.int32)
    places[ranked] = np.arange(len(ranked), dtype=np.int32)
    return spans, places


def _scatter(piece: _Piece, shard_rows: int, schema: pa.Schema) -> _Scattered:
    """Write a span's kept rows to a file with one batch for each bucket."""
    table = _read_kept(piece.span, piece.places, schema)
    shard, within = np.divmod(piece.places.astype(np.int64), shard_rows)
    bucket = shard * -(-shard_rows // _BUCKET_ROWS) + within // _BUCKET_ROWS
    order = np.argsort(bucket, kind="stable")
    numbers, begins = np.unique(bucket[order], return_index=True)
    # One take for all buckets, then slices: taking nested text is the expensive step.
    ordered = table.take(pa.array(order)).combine_chunks().to_batches()[0]
    blocks = []
    with piece.buckets.open("wb") as out:
        for begin, size in zip(begins, np.diff(begins, append=len(order)), strict=True):
            blocks.append(write_block(piece.buckets, out, ordered.slice(begin, size)))
    return _Scattered(piece.buckets, numbers, blocks)


def _read_kept(span: _Span, places: Places, schema: pa.Schema) -> pa.Table:
    source, batches = span.source, []
    records = read_batches(source.records, span=(span.first, span.last))
    columns = ["outcome", "evidence", *_IMAGE_COLUMNS]
    screened = read_batches(source.screened, columns, (span.first, span.last))
    for record, decision in zip(records, screened, strict=True):
        kept = pc.equal(decision.column("outcome"), Outcome.KEPT)
        once = pa.array(np.flatnonzero(kept.to_numpy(zero_copy_only=False)))
        ids, copied = expand_ids(record.column(0).take(once), decision["evidence"].take(once))
        rows = once.take(pa.array(copied))
        batches.append(
            [
                ids,
                *(column.take(rows) for column in record.columns[1:]),
                *(decision.column(name).take(rows) for name in _IMAGE_COLUMNS),
            ]
        )
    whole = [pa.chunked_array(column).combine_chunks() for column in zip(*batches, strict=True)]
    license = pa.array([source.license] * span.rows, pa.string())
    columns = [*whole, license, pa.array(places)]
    if "images" in schema.names:
        columns = _with_image_lists(columns, schema)
    return pa.Table.from_arrays(columns, schema=schema.append(_PLACE))


def _with_image_lists(columns: Sequence[pa.Array], schema: pa.Schema) -> list[pa.Array]:
    """Return the columns with lists of images and of their facts, also of a single-image source.

    Facts that are not known are a null list; text has an empty list.
    """
    listed = list(columns)
    place = schema.get_field_index("images")
    listed[place] = image_lists(columns[place])
    is_text = pc.equal(pc.list_value_length(listed[place]), 0)
    for name in _IMAGE_COLUMNS:
        facts = columns[schema.get_field_index(name)]
        if not pa.types.is_list(facts.type):
            bounds = image_lists(facts).offsets
            unknown = pc.invert(pc.or_(is_text, facts.is_valid()))
            facts = pa.ListArray.from_arrays(bounds, facts.drop_null(), mask=unknown)
        listed[schema.get_field_index(name)] = facts
    return listed


def _plan_shards(
    folder: Path, names: Sequence[str], scattered: Sequence[_Scattered], buckets_per_shard: int
) -> Iterator[_Shard]:
    for number, name in enumerate(names):
        buckets: list[list[Block]] = [[] for _ in range(buckets_per_shard)]
        for some in scattered:
            first = number * buckets_per_shard
            begin, end = np.searchsorted(some.numbers, [first, first + buckets_per_shard])
            for batch in range(begin, end):
                buckets[some.numbers[batch] - first].append(some.blocks[batch])
        yield _Shard(folder / name, [bucket for bucket in buckets if bucket])


def _assemble(shard: _Shard, schema: pa.Schema) -> str:
    """Write a shard; return its sha256."""
    write_shard_in_parts(shard.path, _ordered_tables(shard.buckets, schema), schema)
    return file_sha256(shard.path)


def _ordered_tables(buckets: Sequence[Sequence[Block]], schema: pa.Schema) -> Iterator[pa.Table]:
    """Yield the rows of a shard in order, in tables of about a bucket's size.

    The last batch of a bucket goes with the next bucket: Arrow pads a slice with the bytes that
    follow it in memory, and so a shard has the bytes of one written from a single table (as long
    as a batch has 64 bytes or more in each column that is not empty).
    """
    schema = schema.append(_PLACE)
    held = schema.empty_table()
    for number, bucket in enumerate(buckets, start=1):
        batches = (read_block(block, schema) for block in bucket)
        table = pa.concat_tables([held, pa.Table.from_batches(batches)]).combine_chunks()
        order = np.argsort(table.column("place").to_numpy(), kind="stable")
        ordered = table.take(pa.array(order))
        ready = len(ordered) - (BATCH_ROWS if number < len(buckets) else 0)
        yield ordered.slice(0, ready).drop_columns("place")
        held = ordered.slice(ready)
