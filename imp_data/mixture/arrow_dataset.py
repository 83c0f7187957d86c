"""Write and read a mixture in the layout of `datasets`: Arrow stream shards, and their index."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa

from imp_data.sample import SAMPLE_SCHEMA
from imp_data.storage.atomic_write import json_text, write_text
from imp_data.storage.digests import text_digest
from imp_data.storage.tables import open_arrow_source

# The batch size that datasets writes; it reads other sizes as well.
BATCH_ROWS = 1000
_MIXTURE_FILE = re.compile(
    r"data-\d{5,}-of-\d{5,}\.arrow|(state|dataset_info|mixture)\.json|ledger\.parquet"
)
# Types in the form of `datasets` 5 (features/features.py).
_DATASETS_TYPES = {pa.string(): "string", pa.int32(): "int32"}


def is_mixture_file(name: str) -> bool:
    """Return whether a name in a mixture's folder is that of a file which the mixture stage writes.

    The card is none: it has a stage of its own.
    """
    return _MIXTURE_FILE.fullmatch(name) is not None


def features(schema: pa.Schema = SAMPLE_SCHEMA) -> dict[str, Any]:
    """Return the columns of Samples in the form of `datasets`."""

    def describe(kind: pa.DataType) -> dict[str, Any]:
        if pa.types.is_list(kind):
            return {"feature": describe(kind.value_type), "_type": "List"}
        if pa.types.is_struct(kind):
            return {field.name: describe(field.type) for field in kind}
        return {"dtype": _DATASETS_TYPES[kind], "_type": "Value"}

    return {field.name: describe(field.type) for field in schema}


def shard_schema(schema: pa.Schema = SAMPLE_SCHEMA) -> pa.Schema:
    """Return the schema of Samples with the metadata from which `datasets` reads the features."""
    info = orjson.dumps({"info": {"features": features(schema)}})
    return schema.with_metadata({"huggingface": info})


def write_shard(path: Path, table: pa.Table) -> None:
    """Write a shard from one table that a take returned: its bytes depend on its rows alone."""
    write_shard_in_parts(path, [table], table.schema.remove_metadata())


def write_shard_in_parts(
    path: Path, tables: Iterable[pa.Table], samples: pa.Schema = SAMPLE_SCHEMA
) -> None:
    """Write a shard from tables; all but the last have a multiple of BATCH_ROWS rows."""
    schema = shard_schema(samples)
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_stream(sink, schema) as writer:
        for table in tables:
            writer.write_table(table.cast(schema), max_chunksize=BATCH_ROWS)


def write_index(
    folder: Path, shards: Mapping[str, str], total: int, schema: pa.Schema = SAMPLE_SCHEMA
) -> None:
    """Write the index that datasets.load_from_disk reads; `shards` are {name: sha256}."""
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
        "features": features(schema),
        "homepage": "",
        "license": "",
        "splits": {"train": {"name": "train", "num_bytes": size, "num_examples": total}},
        "dataset_size": size,
    }
    write_text(folder / "state.json", json_text(state))
    write_text(folder / "dataset_info.json", json_text(info))


def mixture_batches(folder: Path, columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
    """Yield the batches of a mixture's shards in order, with some columns or all."""
    for shard in shard_files(folder):
        for batch in shard_batches(shard):
            yield batch if columns is None else batch.select(columns)


def shard_files(folder: Path) -> list[Path]:
    """Return a mixture's shards in order."""
    state = orjson.loads((folder / "state.json").read_bytes())
    return [folder / file["filename"] for file in state["_data_files"]]


def shard_batches(path: Path) -> Iterator[pa.RecordBatch]:
    """Yield the batches of one shard, one at a time."""
    with open_arrow_source(path) as source:
        yield from pa.ipc.open_stream(source)
