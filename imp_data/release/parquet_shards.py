"""Write a table to Parquet files as the Hub wants them: small row groups, stable chunks."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

# The Hub's viewer reads whole row groups, of 300 MB at most; `datasets` writes up to 100 rows with
# images in one. Fewer bytes bound the memory of reader and writer.
GROUP_ROWS, GROUP_BYTES = 100, 48_000_000
TEXT_GROUP_ROWS = 10_000
SHARD_BYTES = 500_000_000
# `datasets` 5 writes these: the Hub stores a chunk once, so files with a changed row are sent in
# part. https://huggingface.co/docs/hub/datasets-parquet
_CHUNKING = {"min_chunk_size": 256 << 10, "max_chunk_size": 1 << 20, "norm_level": 0}


class ParquetShards:
    """Writes tables to files of at most SHARD_BYTES, `<stem>-00000-of-00003.parquet`.

    Equal tables give equal bytes. Use it as a context; at its end the files get their names.
    """

    def __init__(self, folder: Path, stem: str, schema: pa.Schema, shard_bytes: int) -> None:
        self._folder, self._stem, self._schema = folder, stem, schema
        self._shard_bytes = shard_bytes
        self._written: list[Path] = []
        self._writer: pq.ParquetWriter | None = None
        self._size = 0

    def __enter__(self) -> "ParquetShards":
        self._folder.mkdir(parents=True, exist_ok=True)
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if self._writer is None and not self._written and kind is None:
            self._open()  # an empty table has a file too
        self._close()
        if kind is None:
            for number, path in enumerate(self._written):
                name = f"{self._stem}-{number:05d}-of-{len(self._written):05d}.parquet"
                path.rename(self._folder / name)

    def write_group(self, table: pa.Table, size: int) -> None:
        """Write a row group of about `size` bytes; begin a new file if it would grow too large."""
        if self._writer is not None and self._size + size > self._shard_bytes:
            self._close()
        writer = self._writer or self._open()
        writer.write_table(table.cast(self._schema), row_group_size=max(len(table), 1))
        self._size += size

    def _open(self) -> pq.ParquetWriter:
        path = self._folder / f".{self._stem}-{len(self._written)}"
        self._written.append(path)
        self._size = 0
        self._writer = pq.ParquetWriter(path, self._schema, **_options(self._schema))
        return self._writer

    def _close(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None


def _options(schema: pa.Schema) -> dict[str, Any]:
    """Return the writer's options: images as they are, other columns compressed."""
    paths = _leaf_paths(schema)
    images = [path for path in paths if path.endswith(".bytes")]
    return {
        "compression": {path: "none" if path in images else "snappy" for path in paths},
        "use_dictionary": [path for path in paths if path not in images],
        "write_statistics": [path for path in paths if path not in images],
        "write_page_index": True,
        "use_content_defined_chunking": _CHUNKING,
    }


def _leaf_paths(schema: pa.Schema) -> list[str]:
    def below(name: str, kind: pa.DataType) -> list[str]:
        if pa.types.is_list(kind):
            return below(f"{name}.list.element", kind.value_type)
        if pa.types.is_struct(kind):
            return [path for field in kind for path in below(f"{name}.{field.name}", field.type)]
        return [name]

    return [path for field in schema for path in below(field.name, field.type)]
