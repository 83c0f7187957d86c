"""Kept rows of many files into shards in the order of the mixture, with a heap of rows in memory.

Workers first scatter pieces of the inputs, each to a file that has its rows sorted by heap; then
each shard is put together heap by heap, from what all the pieces have for it.
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
from imp_data.mixture.ledger_writer import SourceInputs
from imp_data.parallel import map_ordered
from imp_data.parallel.progress import progress
from imp_data.sample import SAMPLE_SCHEMA
from imp_data.storage.digests import file_sha256, xxh3_keys
from imp_data.storage.scratch_batches import Block, read_block, write_block
from imp_data.storage.tables import arrow_batches

# Rows of a heap; of a shard's batches a whole number, so that its bytes do not depend on heaps.
_HEAP_ROWS = 10 * BATCH_ROWS
# Rows that a worker scatters at a time.
_PIECE_ROWS = 1 << 14
_LOOKS = ["image_sha256", "image_width", "image_height"]
_HEAP_SCHEMA = SAMPLE_SCHEMA.append(pa.field("place", pa.int32()))

Places = npt.NDArray[np.int32]


class _Span(NamedTuple):
    """Record batches `first` to `last` - 1 of a source, with `rows` kept rows in all."""

    share: SourceInputs
    first: int
    last: int
    rows: int


class _Piece(NamedTuple):
    """A span, where its kept rows go in the mixture, and the file for them."""

    span: _Span
    places: Places
    heaps: Path


class _Scattered(NamedTuple):
    """A file of batches, the number of the heap that each is for, and where it is."""

    heaps: Path
    numbers: npt.NDArray[np.int64]
    blocks: list[Block]


class _Shard(NamedTuple):
    """A shard to be put together from its heaps."""

    path: Path
    heaps: list[list[Block]]


def shard_names(total: int, shard_rows: int) -> list[str]:
    """The shards' file names; at least one, so that a mixture of nothing opens as well."""
    count = max(-(-total // shard_rows), 1)
    return [f"data-{n:05d}-of-{count:05d}.arrow" for n in range(count)]


def write_shards(
    folder: Path, shares: Sequence[SourceInputs], seed: int, shard_rows: int, here: bool = False
) -> tuple[int, dict[str, str]]:
    """How many kept rows there are, and {file: sha256} of the shards that have them.

    `here`: no other machine sees the folder.
    """
    spans, places = _placed(shares, seed)
    names = shard_names(len(places), shard_rows)
    heaps = folder / "heaps"
    heaps.mkdir()
    bounds = np.cumsum([0, *(span.rows for span in spans)])
    pieces = (
        _Piece(span, places[begin:end], heaps / f"{number}.arrow")
        for number, (span, begin, end) in enumerate(zip(spans, bounds, bounds[1:], strict=False))
    )
    scatter = partial(_scatter, shard_rows=shard_rows)
    scattered: list[_Scattered] = []
    with progress("mixture", "samples", len(places)) as told:
        for some in map_ordered(scatter, pieces, here=here):
            scattered.append(some)
            told.add(spans[len(scattered) - 1].rows)
    shards = _shards(folder, names, scattered, -(-shard_rows // _HEAP_ROWS))
    digests = dict(zip(names, map_ordered(_put_together, shards, here=here), strict=True))
    for some in scattered:
        some.heaps.unlink()
    heaps.rmdir()
    return len(places), digests


def _placed(shares: Sequence[SourceInputs], seed: int) -> tuple[list[_Span], Places]:
    """Spans of all sources, and where their kept rows go: the order is that of xxh3(seed, id).

    Memory: 20 bytes a kept row.
    """
    spans: list[_Span] = []
    keys = bytearray()
    for share in shares:
        first = rows = last = 0
        for last, batch in enumerate(arrow_batches(share.screened, ["id", "outcome"]), start=1):
            ids = batch.column("id").filter(pc.equal(batch.column("outcome"), Outcome.KEPT))
            keys += np.array(xxh3_keys(seed, ids.to_pylist()), np.uint64).tobytes()
            rows += len(ids)
            if rows >= _PIECE_ROWS:
                spans.append(_Span(share, first, last, rows))
                first, rows = last, 0
        if rows:
            spans.append(_Span(share, first, last, rows))
    ranked = np.argsort(np.frombuffer(keys, np.uint64), kind="stable")
    places = np.empty(len(ranked), np.int32)
    places[ranked] = np.arange(len(ranked), dtype=np.int32)
    return spans, places


def _scatter(piece: _Piece, shard_rows: int) -> _Scattered:
    """A span's kept rows, those for the same heap together, in a file of a batch a heap."""
    table = _kept(piece.span, piece.places)
    shard, within = np.divmod(piece.places.astype(np.int64), shard_rows)
    heap = shard * -(-shard_rows // _HEAP_ROWS) + within // _HEAP_ROWS
    order = np.argsort(heap, kind="stable")
    numbers, begins = np.unique(heap[order], return_index=True)
    # One take for all heaps, then slices: a take of nested text is what costs here.
    ordered = table.take(pa.array(order)).combine_chunks().to_batches()[0]
    blocks = []
    with piece.heaps.open("wb") as out:
        for begin, size in zip(begins, np.diff(begins, append=len(order)), strict=True):
            blocks.append(write_block(piece.heaps, out, ordered.slice(begin, size)))
    return _Scattered(piece.heaps, numbers, blocks)


def _kept(span: _Span, places: Places) -> pa.Table:
    share, batches = span.share, []
    records = arrow_batches(share.records, span=(span.first, span.last))
    screened = arrow_batches(share.screened, ["outcome", *_LOOKS], (span.first, span.last))
    for record, look in zip(records, screened, strict=True):
        kept = pc.equal(look.column("outcome"), Outcome.KEPT)
        rows = pa.array(np.flatnonzero(kept.to_numpy(zero_copy_only=False)))
        batches.append(
            [
                *(column.take(rows) for column in record.columns),
                *(look.column(name).take(rows) for name in _LOOKS),
            ]
        )
    whole = [pa.chunked_array(column).combine_chunks() for column in zip(*batches, strict=True)]
    license = pa.array([share.license] * span.rows, pa.string())
    return pa.Table.from_arrays([*whole, license, pa.array(places)], schema=_HEAP_SCHEMA)


def _shards(
    folder: Path, names: Sequence[str], scattered: Sequence[_Scattered], heaps_a_shard: int
) -> Iterator[_Shard]:
    for number, name in enumerate(names):
        heaps: list[list[Block]] = [[] for _ in range(heaps_a_shard)]
        for some in scattered:
            first = number * heaps_a_shard
            begin, end = np.searchsorted(some.numbers, [first, first + heaps_a_shard])
            for batch in range(begin, end):
                heaps[some.numbers[batch] - first].append(some.blocks[batch])
        yield _Shard(folder / name, [heap for heap in heaps if heap])


def _put_together(shard: _Shard) -> str:
    """Write a shard; returns its sha256."""
    write_shard_in_parts(shard.path, _parts(shard.heaps))
    return file_sha256(shard.path)


def _parts(heaps: Sequence[Sequence[Block]]) -> Iterator[pa.Table]:
    """The rows of a shard in order, in tables of some heap's size.

    The last batch of a heap is written together with the next heap: Arrow pads a slice with what
    follows it in memory, and so a shard has the bytes of one written in one piece (as long as a
    batch has 64 bytes or more in each column that is not empty).
    """
    held = _HEAP_SCHEMA.empty_table()
    for number, heap in enumerate(heaps, start=1):
        batches = (read_block(block, _HEAP_SCHEMA) for block in heap)
        table = pa.concat_tables([held, pa.Table.from_batches(batches)]).combine_chunks()
        order = np.argsort(table.column("place").to_numpy(), kind="stable")
        ordered = table.take(pa.array(order))
        ready = len(ordered) - (BATCH_ROWS if number < len(heaps) else 0)
        yield ordered.slice(0, ready).drop_columns("place")
        held = ordered.slice(ready)
