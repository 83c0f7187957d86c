"""A mixture's folder as `datasets` reads it: shards in Arrow's stream format, and their index."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa

from imp_data.sample import SAMPLE_SCHEMA
from imp_data.storage.atomic_write import json_text, write_text
from imp_data.storage.digests import text_digest
from imp_data.storage.tables import arrow_source

# datasets reads and writes batches of this many rows; it opens other sizes as well.
BATCH_ROWS = 1000
_OURS = re.compile(
    r"data-\d{5,}-of-\d{5,}\.arrow|(state|dataset_info|mixture)\.json|ledger\.parquet"
)
# features as `datasets` writes them for SAMPLE_SCHEMA (datasets 5, features/features.py).
_DATASETS_TYPES = {pa.string(): "string", pa.int32(): "int32"}


def is_ours(name: str) -> bool:
    """Whether a file in a mixture's folder is of those that the build writes, by its name.

    Its card apart, which has a stage of its own.
    """
    return _OURS.fullmatch(name) is not None


def features() -> dict[str, Any]:
    """The Samples' columns as `datasets` describes them."""

    def described(kind: pa.DataType) -> dict[str, Any]:
        if pa.types.is_list(kind):
            return {"feature": described(kind.value_type), "_type": "List"}
        if pa.types.is_struct(kind):
            return {field.name: described(field.type) for field in kind}
        return {"dtype": _DATASETS_TYPES[kind], "_type": "Value"}

    return {field.name: described(field.type) for field in SAMPLE_SCHEMA}


def shard_schema() -> pa.Schema:
    """The Samples' schema with the metadata by which `datasets` knows its features."""
    info = orjson.dumps({"info": {"features": features()}})
    return SAMPLE_SCHEMA.with_metadata({"huggingface": info})


def write_shard(path: Path, table: pa.Table) -> None:
    """One shard of a table in one piece, fresh from a take: its bytes depend on its rows alone."""
    write_shard_in_parts(path, [table])


def write_shard_in_parts(path: Path, tables: Iterable[pa.Table]) -> None:
    """The same of tables of which all but the last have a multiple of BATCH_ROWS rows."""
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_stream(sink, shard_schema()) as writer:
        for table in tables:
            writer.write_table(table.cast(shard_schema()), max_chunksize=BATCH_ROWS)


def write_index(folder: Path, shards: Mapping[str, str], total: int) -> None:
    """What datasets.load_from_disk looks for beside the shards, given as {name: sha256}."""
    digest = text_digest(*shards.values())
    state: dict[str, Any] = {
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


def mixture_batches(folder: Path, columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
    """The batches of a mixture's shards, in its order, with some columns or all of them."""
    for shard in shard_files(folder):
        for batch in shard_batches(shard):
            yield batch if columns is None else batch.select(columns)


def shard_files(folder: Path) -> list[Path]:
    """A mixture's shards, in its order."""
    state = orjson.loads((folder / "state.json").read_bytes())
    return [folder / file["filename"] for file in state["_data_files"]]


def shard_batches(path: Path) -> Iterator[pa.RecordBatch]:
    """The batches of one shard, one at a time."""
    with arrow_source(path) as source:
        yield from pa.ipc.open_stream(source)
