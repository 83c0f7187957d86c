"""The mixture stage: what was drawn, shuffled into Arrow shards, with its ledger and manifest."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from imp_data.arrow_dataset import write_index, write_shard
from imp_data.engine import map_ordered
from imp_data.ledger import Outcome
from imp_data.progress import progress
from imp_data.sample import SAMPLE_SCHEMA
from imp_data.settlement import Share, write_ledger
from imp_data.store import (
    arrow_batches,
    file_sha256,
    json_text,
    text_digest,
    write_text,
    written_aside,
    xxh3_keys,
)

_SCATTER_ROWS = 1 << 15


class _Order(NamedTuple):
    """Where each kept Sample of a source goes: its row upstream and its place in the mixture."""

    rows: npt.NDArray[np.int64]
    places: npt.NDArray[np.int64]


def build_mixture(
    folder: Path, shares: Sequence[Share], seed: int, shard_rows: int, facts: dict[str, Any]
) -> dict[str, Any]:
    """Write the folder of a mixture, whole or not at all; returns what mixture.json says.

    `facts` are what the caller knows of the inputs; they become part of mixture.json.
    """
    with written_aside(folder, last="mixture.json") as aside:
        aside.mkdir(parents=True)
        orders = _orders(shares, seed)
        total = sum(len(order.rows) for order in orders)
        shards = _write_shards(aside, shares, orders, total, shard_rows)
        parts = write_ledger(aside / "ledger.parquet", shares)
        digests = {name: file_sha256(aside / name) for name in shards}
        write_index(aside, digests, total)
        manifest = _manifest(aside, parts, total, facts, digests)
        write_text(aside / "mixture.json", json_text(manifest))
    return manifest


def _orders(shares: Sequence[Share], seed: int) -> list[_Order]:
    """The mixture's order is that of xxh3(seed + 1, id), whatever the sources' order was."""
    rows: list[npt.NDArray[np.int64]] = []
    keys: list[npt.NDArray[np.uint64]] = []
    for share in shares:
        some_rows, some_keys = [np.zeros(0, np.int64)], [np.zeros(0, np.uint64)]
        for batch in arrow_batches(share.screened, ["sample", "id", "outcome"]):
            kept = batch.filter(pc.equal(batch.column("outcome"), Outcome.KEPT))
            some_rows.append(kept.column("sample").to_numpy().astype(np.int64))
            ids = kept.column("id").to_pylist()
            some_keys.append(np.array(xxh3_keys(seed + 1, ids), np.uint64))
        rows.append(np.concatenate(some_rows))
        keys.append(np.concatenate(some_keys))
    ranked = np.argsort(np.concatenate(keys), kind="stable")
    places = np.empty(len(ranked), np.int64)
    places[ranked] = np.arange(len(ranked))
    bounds = np.cumsum([len(r) for r in rows])[:-1]
    return [_Order(r, p) for r, p in zip(rows, np.split(places, bounds), strict=True)]


def shard_names(total: int, shard_rows: int) -> list[str]:
    """The shards' file names; at least one, so that a mixture of nothing opens as well."""
    count = max(-(-total // shard_rows), 1)
    return [f"data-{n:05d}-of-{count:05d}.arrow" for n in range(count)]


def _write_shards(
    folder: Path, shares: Sequence[Share], orders: Sequence[_Order], total: int, shard_rows: int
) -> list[str]:
    """Scatter the kept rows to one heap a shard, then sort each heap: memory holds one shard."""
    names = shard_names(total, shard_rows)
    heap_schema = SAMPLE_SCHEMA.append(pa.field("place", pa.int64()))
    heaps = folder / "heaps"
    heaps.mkdir()
    with progress("mixture", "samples", total) as told, ExitStack() as stack:
        writers = [
            stack.enter_context(pa.ipc.new_stream(str(heaps / name), heap_schema)) for name in names
        ]
        for share, order in zip(shares, orders, strict=True):
            for table in _kept_tables(share, order):
                _scatter(table, writers, shard_rows)
                told.add(len(table))
    for _ in map_ordered(partial(_sort_heap, folder=folder), names):
        pass
    heaps.rmdir()
    return names


def _kept_tables(share: Share, order: _Order) -> Iterator[pa.Table]:
    """The kept rows of a source, some ten thousand at a time, with all columns and their places."""
    screened = _screened_columns(share.screened, order.rows)
    done = first = 0
    waiting: list[pa.RecordBatch] = []
    for batch in arrow_batches(share.records):
        until = int(np.searchsorted(order.rows, first + len(batch)))
        within = order.rows[done:until] - first
        if len(within):
            kept = batch if len(within) == len(batch) else batch.take(pa.array(within))
            span = slice(done, until)
            columns = [
                *kept.columns,
                *(column.slice(done, until - done) for column in screened),
                pa.array([share.license] * len(within), pa.string()),
                pa.array(order.places[span]),
            ]
            names = [*SAMPLE_SCHEMA.names, "place"]
            waiting.append(pa.RecordBatch.from_arrays(columns, names=names))
        first, done = first + len(batch), until
        if sum(len(w) for w in waiting) >= _SCATTER_ROWS:
            yield pa.Table.from_batches(waiting)
            waiting = []
    if waiting:
        yield pa.Table.from_batches(waiting)


def _screened_columns(path: Path, rows: npt.NDArray[np.int64]) -> list[pa.Array]:
    """sha256, width and height of the kept Samples' pictures, in upstream order."""
    names = ["image_sha256", "image_width", "image_height"]
    tables = [pa.table([pa.array([], SAMPLE_SCHEMA.field(n).type) for n in names], names=names)]
    for batch in arrow_batches(path, ["outcome", *names]):
        kept = batch.filter(pc.equal(batch.column("outcome"), Outcome.KEPT))
        tables.append(pa.Table.from_batches([kept.select(names)]))
    whole = pa.concat_tables(tables).combine_chunks()
    assert whole.num_rows == len(rows), "screened rows are in upstream order, each once"
    return [whole.column(name).combine_chunks() for name in names]


def _scatter(table: pa.Table, writers: Sequence[Any], shard_rows: int) -> None:
    shards = table.column("place").to_numpy() // shard_rows
    order = np.argsort(shards, kind="stable")
    bounds = np.searchsorted(shards[order], np.arange(len(writers) + 1))
    # One take for all shards, then slices: a take of nested text is what costs here.
    sorted_rows = table.combine_chunks().take(pa.array(order))
    for writer, begin, end in zip(writers, bounds[:-1], bounds[1:], strict=True):
        if end > begin:
            writer.write_table(sorted_rows.slice(begin, end - begin))


def _sort_heap(name: str, folder: Path) -> None:
    """A heap's rows in the mixture's order, as a shard in its place."""
    heap = folder / "heaps" / name
    with pa.OSFile(str(heap), "rb") as source:
        table = pa.ipc.open_stream(source).read_all().combine_chunks()
    order = np.argsort(table.column("place").to_numpy(), kind="stable")
    write_shard(folder / name, table.drop_columns("place").take(pa.array(order)))
    heap.unlink()


def _manifest(
    folder: Path,
    parts: dict[str, dict[str, Any]],
    total: int,
    facts: dict[str, Any],
    digests: Mapping[str, str],
) -> dict[str, Any]:
    """mixture.json: no times, no paths, so that equal inputs give equal bytes."""
    files = {
        path.name: {
            "sha256": digests.get(path.name) or file_sha256(path),
            "bytes": path.stat().st_size,
        }
        for path in sorted(folder.iterdir())
    }
    manifest = {**facts, "rows": total, "parts": _with(facts["parts"], parts), "files": files}
    return {**manifest, "digest": root_digest(manifest)}


def _with(stated: list[dict[str, Any]], counted: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    return [{**part, **counted[part["source"]]} for part in stated]


def root_digest(manifest: dict[str, Any]) -> str:
    """sha256 of what mixture.json says, itself apart; through `files` it covers every byte."""
    rest = {name: value for name, value in manifest.items() if name != "digest"}
    return text_digest(orjson.dumps(rest, option=orjson.OPT_SORT_KEYS))
