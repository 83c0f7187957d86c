"""Write zip, tar, JSON and Parquet files whose bytes depend on their contents alone."""

import gzip
import io
import json
import tarfile
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from imp_data.storage.atomic_write import write_atomically

_EARLIEST_ZIP_TIME = (1980, 1, 1, 0, 0, 0)
_COMPRESSED_FORMATS = (".jpg", ".jpeg", ".png", ".gif", ".webp")


def write_file(path: Path, data: bytes) -> None:
    """Write a file atomically."""
    with write_atomically(path) as aside:
        aside.write_bytes(data)


def write_zip(path: Path, members: Mapping[str, bytes]) -> None:
    """Write a zip with sorted members; store images, which are compressed already."""
    with write_atomically(path) as aside, zipfile.ZipFile(aside, "w") as archive:
        for name in sorted(members):
            info = zipfile.ZipInfo(name, _EARLIEST_ZIP_TIME)
            info.create_system, info.external_attr = 3, 0o100644 << 16
            stored = name.endswith(_COMPRESSED_FORMATS)
            info.compress_type = zipfile.ZIP_STORED if stored else zipfile.ZIP_DEFLATED
            archive.writestr(info, members[name])


def write_tar_gz(path: Path, members: Mapping[str, bytes]) -> None:
    """Write a gzipped tar with sorted members."""
    with (
        write_atomically(path) as aside,
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
    with write_atomically(path) as aside:
        pq.write_table(pa.table(arrays), aside, compression="snappy", version="2.6")


def write_image_parquet(
    path: Path, rows: Sequence[Mapping[str, Any]], features: Mapping[str, Any], group_rows: int
) -> None:
    """Write a Parquet file whose footer states `features`, as `datasets` writes its own."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    stated = {"huggingface": json.dumps({"info": {"features": features}})}
    schema = pa.schema([(name, _arrow_type(one)) for name, one in features.items()], stated)
    table = pa.Table.from_pylist([*rows], schema)
    with write_atomically(path) as aside:
        pq.write_table(table, aside, row_group_size=group_rows, compression="snappy", version="2.6")


def _arrow_type(feature: Mapping[str, Any]) -> Any:
    """Return the Arrow type in which `datasets` stores a feature."""
    import pyarrow as pa

    match feature.get("_type"):
        case "Value":
            return pa.string()
        case "Image":
            return pa.struct([("bytes", pa.binary()), ("path", pa.string())])
        case "List":
            return pa.list_(_arrow_type(feature["feature"]))
    return pa.struct([(name, _arrow_type(one)) for name, one in feature.items()])


def json_bytes(value: Any, indent: int | None = None) -> bytes:
    """Encode as JSON with Python's json module, as upstream does."""
    return json.dumps(value, indent=indent).encode()


def array_bytes(elements: Iterable[bytes], *, lines: bool) -> bytes:
    """Join encoded elements, faulty ones included, into a JSON array."""
    before, between, after = (b"[\n", b",\n", b"\n]") if lines else (b"[", b", ", b"]")
    return before + between.join(elements) + after
