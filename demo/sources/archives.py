"""Write zip, tar, JSON and Parquet files whose bytes depend on their contents alone."""

import gzip
import io
import json
import tarfile
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from imp_data.storage.atomic_write import written_aside

_EARLIEST_ZIP_TIME = (1980, 1, 1, 0, 0, 0)
_COMPRESSED_FORMATS = (".jpg", ".jpeg", ".png", ".gif", ".webp")


def write_file(path: Path, data: bytes) -> None:
    """Write a file atomically."""
    with written_aside(path) as aside:
        aside.write_bytes(data)


def write_zip(path: Path, members: Mapping[str, bytes]) -> None:
    """Write a zip with sorted members; store images, which are compressed already."""
    with written_aside(path) as aside, zipfile.ZipFile(aside, "w") as archive:
        for name in sorted(members):
            info = zipfile.ZipInfo(name, _EARLIEST_ZIP_TIME)
            info.create_system, info.external_attr = 3, 0o100644 << 16
            stored = name.endswith(_COMPRESSED_FORMATS)
            info.compress_type = zipfile.ZIP_STORED if stored else zipfile.ZIP_DEFLATED
            archive.writestr(info, members[name])


def write_tar_gz(path: Path, members: Mapping[str, bytes]) -> None:
    """Write a gzipped tar with sorted members."""
    with (
        written_aside(path) as aside,
        aside.open("wb") as out,
        gzip.GzipFile("", "wb", compresslevel=1, fileobj=out, mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.USTAR_FORMAT) as archive,
    ):
        for name in sorted(members):
            info = tarfile.TarInfo(name)
            info.size = len(members[name])
            archive.addfile(info, io.BytesIO(members[name]))


def write_parquet(path: Path, columns: Mapping[str, list[Any]]) -> None:
    """Write a Parquet file of text columns; a column of None alone has the type null."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    kinds = {n: pa.null() if set(c) == {None} else pa.string() for n, c in columns.items()}
    arrays = {name: pa.array(column, kinds[name]) for name, column in columns.items()}
    with written_aside(path) as aside:
        pq.write_table(pa.table(arrays), aside, compression="snappy", version="2.6")


def json_bytes(value: Any, indent: int | None = None) -> bytes:
    """Encode as JSON with Python's json module, as upstream does."""
    return json.dumps(value, indent=indent).encode()


def array_bytes(elements: Iterable[bytes], *, lines: bool) -> bytes:
    """Join encoded elements, faulty ones included, into a JSON array."""
    before, between, after = (b"[\n", b",\n", b"\n]") if lines else (b"[", b", ", b"]")
    return before + between.join(elements) + after
