"""Zips, tars, JSON and Parquet whose bytes depend on their contents alone."""

import gzip
import io
import json
import tarfile
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from imp_data.storage.atomic_write import written_aside

_LONG_AGO = (1980, 1, 1, 0, 0, 0)  # the earliest time a zip can state
_PACKED_ALREADY = (".jpg", ".jpeg", ".png", ".gif", ".webp")


def write_file(path: Path, data: bytes) -> None:
    """A file, whole or absent."""
    with written_aside(path) as aside:
        aside.write_bytes(data)


def write_zip(path: Path, members: Mapping[str, bytes]) -> None:
    """A zip with sorted members; images are stored, for they are packed already."""
    with written_aside(path) as aside, zipfile.ZipFile(aside, "w") as archive:
        for name in sorted(members):
            info = zipfile.ZipInfo(name, _LONG_AGO)
            info.create_system, info.external_attr = 3, 0o100644 << 16
            stored = name.endswith(_PACKED_ALREADY)
            info.compress_type = zipfile.ZIP_STORED if stored else zipfile.ZIP_DEFLATED
            archive.writestr(info, members[name])


def write_tar_gz(path: Path, members: Mapping[str, bytes]) -> None:
    """A gzipped tar with sorted members."""
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
    """A Parquet file of text columns; one that holds nothing but None has the type null."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    kinds = {n: pa.null() if set(c) == {None} else pa.string() for n, c in columns.items()}
    arrays = {name: pa.array(column, kinds[name]) for name, column in columns.items()}
    with written_aside(path) as aside:
        pq.write_table(pa.table(arrays), aside, compression="snappy", version="2.6")


def json_bytes(value: Any, indent: int | None = None) -> bytes:
    """JSON as Python's own module writes it, which is what upstream used."""
    return json.dumps(value, indent=indent).encode()


def array_bytes(elements: Iterable[bytes], *, lines: bool) -> bytes:
    """A JSON array of elements that are bytes already, whatever is wrong with them."""
    before, between, after = (b"[\n", b",\n", b"\n]") if lines else (b"[", b", ", b"]")
    return before + between.join(elements) + after
