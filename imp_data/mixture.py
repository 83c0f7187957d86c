"""The mixture stage: what was drawn, shuffled into Arrow shards, with its ledger and its manifest."""

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from imp_data.ledger import LEDGER_SCHEMA, Outcome, Stage
from imp_data.progress import progress
from imp_data.sample import SAMPLE_SCHEMA
from imp_data.store import (
    arrow_batches,
    file_sha256,
    parquet_writer,
    text_digest,
    write_text,
    written_aside,
    xxh3_keys,
)

# datasets reads and writes batches of this many rows; it opens other sizes as well.
_BATCH_ROWS = 1000
_SCATTER_ROWS = 1 << 15
# features as `datasets` writes them for SAMPLE_SCHEMA (datasets 5, features/features.py).
_DATASETS_TYPES = {pa.string(): "string", pa.int32(): "int32"}


class Share(NamedTuple):
    """One source as the mixture stage needs it."""

    source: str
    license: str
    records: Path
    ledger: Path
    screened: Path


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
    with written_aside(folder) as aside:
        aside.mkdir(parents=True)
        orders = _orders(shares, seed)
        total = sum(len(order.rows) for order in orders)
        shards = _write_shards(aside, shares, orders, total, shard_rows)
        parts = write_ledger(aside / "ledger.parquet", shares)
        _write_dataset_files(aside, shards, total)
        manifest = _manifest(aside, parts, total, facts)
        write_text(aside / "mixture.json", json_text(manifest))
    return manifest


def json_text(value: Any) -> str:
    """JSON for people and programs alike: indented, keys sorted."""
    return orjson.dumps(value, option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS).decode() + "\n"


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


def _write_shards(
    folder: Path, shares: Sequence[Share], orders: Sequence[_Order], total: int, shard_rows: int
) -> list[str]:
    """Scatter the kept rows to one heap a shard, then sort each heap: memory holds one shard."""
    count = max(-(-total // shard_rows), 1)
    names = [f"data-{n:05d}-of-{count:05d}.arrow" for n in range(count)]
    heap_schema = SAMPLE_SCHEMA.append(pa.field("place", pa.int64()))
    heaps = folder / "heaps"
    heaps.mkdir()
    with progress("mixture", "samples", total) as told, ExitStack() as stack:
        writers = [
            stack.enter_context(pa.ipc.new_stream(str(heaps / name), heap_schema))
            for name in names
        ]
        for share, order in zip(shares, orders, strict=True):
            for table in _kept_tables(share, order):
                _scatter(table, writers, shard_rows)
                told.add(len(table))
    for name in names:
        _sort_heap(heaps / name, folder / name)
        (heaps / name).unlink()
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
            kept = batch.take(pa.array(within))
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
    for writer, begin, end in zip(writers, bounds[:-1], bounds[1:], strict=True):
        if end > begin:
            writer.write_table(table.take(pa.array(order[begin:end])))


def _sort_heap(heap: Path, shard: Path) -> None:
    with pa.OSFile(str(heap), "rb") as source:
        table = pa.ipc.open_stream(source).read_all()
    table = table.take(pc.sort_indices(table, [("place", "ascending")])).drop_columns("place")
    table = table.combine_chunks().cast(_shard_schema())
    with pa.OSFile(str(shard), "wb") as sink, pa.ipc.new_stream(sink, _shard_schema()) as writer:
        for begin in range(0, table.num_rows, _BATCH_ROWS):
            # Rebuilt from its rows, so that no bytes depend on how the heap was put together.
            piece = table.slice(begin, _BATCH_ROWS)
            rows = piece.take(pa.array(np.arange(piece.num_rows))).combine_chunks()
            writer.write_table(rows)


def features() -> dict[str, Any]:
    """The Samples' columns as `datasets` describes them."""

    def described(kind: pa.DataType) -> dict[str, Any]:
        if pa.types.is_list(kind):
            return {"feature": described(kind.value_type), "_type": "List"}
        if pa.types.is_struct(kind):
            return {field.name: described(field.type) for field in kind}
        return {"dtype": _DATASETS_TYPES[kind], "_type": "Value"}

    return {field.name: described(field.type) for field in SAMPLE_SCHEMA}


def _shard_schema() -> pa.Schema:
    info = orjson.dumps({"info": {"features": features()}})
    return SAMPLE_SCHEMA.with_metadata({"huggingface": info})


def _write_dataset_files(folder: Path, shards: Sequence[str], total: int) -> None:
    """What datasets.load_from_disk looks for beside the shards."""
    digest = text_digest(*(file_sha256(folder / name) for name in shards))
    state = {
        "_data_files": [{"filename": name} for name in shards],
        "_fingerprint": digest[:16],
        "_format_columns": None,
        "_format_kwargs": {},
        "_format_type": None,
        "_output_all_columns": False,
        "_split": "train",
    }
    size = sum((folder / name).stat().st_size for name in shards)
    info = {
        "citation": "",
        "description": "",
        "features": features(),
        "homepage": "",
        "license": "",
        "splits": {"train": {"name": "train", "num_bytes": size, "num_examples": total}},
        "dataset_size": size,
    }
    write_text(folder / "state.json", json_text(state))
    write_text(folder / "dataset_info.json", json_text(info))


def write_ledger(path: Path, shares: Sequence[Share]) -> dict[str, dict[str, Any]]:
    """One row for each upstream record of each source; returns the figures by source."""
    figures: dict[str, dict[str, Any]] = {}
    with parquet_writer(path, LEDGER_SCHEMA) as writer:
        for share in shares:
            decisions = _Decisions(share.screened)
            counts: dict[str, Counter[str]] = {
                name: Counter() for name in ("outcomes", "reasons", "repairs")
            }
            for batch in pq.ParquetFile(share.ledger).iter_batches(_SCATTER_ROWS):
                rows = decisions.settle(batch)
                writer.write_batch(rows)
                counts["outcomes"].update(rows.column("outcome").to_pylist())
                counts["reasons"].update(rows.column("reason").drop_null().to_pylist())
                repairs = rows.column("repairs").flatten().field("repair")
                counts["repairs"].update(repairs.to_pylist())
            figures[share.source] = {name: dict(sorted(c.items())) for name, c in counts.items()}
            figures[share.source]["samples"] = decisions.kept
    return figures


class _Decisions:
    """What screening decided of each Sample row, to be told of the upstream rows in it."""

    def __init__(self, screened: Path) -> None:
        columns = ["outcome", "reason", "evidence"]
        batches = list(arrow_batches(screened, columns))
        self._table = pa.Table.from_batches(batches) if batches else None
        outcomes = self._table.column("outcome") if self._table else pa.array([], pa.string())
        self.kept = pc.sum(pc.equal(outcomes, Outcome.KEPT)).as_py() or 0

    def settle(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Ledger rows with an outcome each: the records stage's own, or what screening decided."""
        if self._table is None:
            return batch.drop_columns("sample")
        decided = self._table.take(batch.column("sample")).combine_chunks()
        outcome = decided.column("outcome").combine_chunks()
        stage = pc.if_else(
            pc.equal(outcome, Outcome.DROPPED), Stage.SCREENED.value, Stage.MIXTURE.value
        )
        settled = {
            "outcome": outcome,
            "stage": stage,
            "reason": decided.column("reason").combine_chunks(),
            "evidence": decided.column("evidence").combine_chunks(),
        }
        columns = [
            pc.coalesce(batch.column(name), settled[name].cast(pa.string()))
            if name in settled
            else batch.column(name)
            for name in LEDGER_SCHEMA.names
        ]
        return pa.RecordBatch.from_arrays(columns, schema=LEDGER_SCHEMA)


def _manifest(
    folder: Path, parts: dict[str, dict[str, Any]], total: int, facts: dict[str, Any]
) -> dict[str, Any]:
    """mixture.json: no times, no paths, so that equal inputs give equal bytes."""
    files = {
        path.name: {"sha256": file_sha256(path), "bytes": path.stat().st_size}
        for path in sorted(folder.iterdir())
    }
    manifest = {**facts, "rows": total, "parts": _with(facts["parts"], parts), "files": files}
    return {**manifest, "digest": root_digest(manifest)}


def _with(
    stated: list[dict[str, Any]], counted: dict[str, dict[str, Any]]
) -> list[dict[str, Any]]:
    return [{**part, **counted[part["source"]]} for part in stated]


def root_digest(manifest: dict[str, Any]) -> str:
    """sha256 of what mixture.json says, itself apart; through `files` it covers every byte."""
    rest = {name: value for name, value in manifest.items() if name != "digest"}
    return text_digest(orjson.dumps(rest, option=orjson.OPT_SORT_KEYS))


def conservation_problems(folder: Path) -> list[str]:
    """Where a mixture's ledger does not account for every record and every Sample of it; none if it does.

    Compared are 64-bit hashes of ids, 8 bytes a Sample.
    """
    manifest = orjson.loads((folder / "mixture.json").read_bytes())
    rows: Counter[str] = Counter()
    outcomes: Counter[str] = Counter()
    ledger = pq.ParquetFile(folder / "ledger.parquet")
    hashes: list[npt.NDArray[np.uint64]] = []
    for batch in ledger.iter_batches(_SCATTER_ROWS, columns=["source", "outcome", "id"]):
        rows.update(batch.column("source").to_pylist())
        outcomes.update(batch.column("outcome").to_pylist())
        of_kept = batch.filter(pc.equal(batch.column("outcome"), Outcome.KEPT)).column("id")
        hashes.append(np.array(xxh3_keys(0, of_kept.unique().to_pylist()), np.uint64))
    problems = [
        f"{part['source']}: {rows[part['source']]:,} ledger rows, {part['rows_read']:,} rows read"
        for part in manifest["parts"]
        if rows[part["source"]] != part["rows_read"]
    ]
    strangers = sorted(str(o) for o in outcomes if o not in set(Outcome))
    if strangers:
        problems.append(f"ledger.parquet: outcomes that do not exist: {', '.join(strangers)}")
    in_ledger = np.unique(np.concatenate([np.zeros(0, np.uint64), *hashes]))
    in_shards = np.sort(np.array(xxh3_keys(0, list(mixture_ids(folder))), np.uint64))
    if not np.array_equal(in_ledger, in_shards):
        problems.append(
            f"kept ids: {len(in_ledger):,} in ledger.parquet, {len(in_shards):,} in the shards, "
            f"{len(np.intersect1d(in_ledger, in_shards)):,} in both"
        )
    return problems


def mixture_ids(folder: Path) -> Iterator[str]:
    """The ids of a mixture's Samples, in its order."""
    for batch in mixture_batches(folder):
        yield from batch.column("id").to_pylist()


def mixture_batches(folder: Path) -> Iterator[pa.RecordBatch]:
    """The batches of a mixture's shards, in its order."""
    state = orjson.loads((folder / "state.json").read_bytes())
    for file in state["_data_files"]:
        with pa.OSFile(str(folder / file["filename"]), "rb") as source:
            yield from pa.ipc.open_stream(source)
