"""Put the images into the rows of a mixture, one row group at a time."""

import hashlib
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import pyarrow as pa

from imp_data.errors import UserError
from imp_data.images.archive_errors import DamagedMember, TooManyBytes
from imp_data.images.reader import ImageReader
from imp_data.release.parquet_shards import GROUP_BYTES, GROUP_ROWS
from imp_data.release.schema import IMAGE_TYPE, release_schema
from imp_data.release.sharing import SharedImages
from imp_data.sample import image_lists

_BUILD_AGAIN = "restore the file, or build the mixture again; then run the same command"


class RowGroup(NamedTuple):
    """Rows to write as one row group, and the bytes of their images."""

    rows: pa.Table
    size: int


class _Image(NamedTuple):
    """The bytes of an image and its path in the mixture."""

    bytes: bytes
    path: str


def with_images(
    batches: Iterator[pa.RecordBatch], reader: ImageReader, shared: SharedImages, max_bytes: int
) -> Iterator[RowGroup]:
    """Yield the Samples with their images, up to GROUP_ROWS rows and about GROUP_BYTES at a time.

    An image that is not shared is null. Raise UserError if an image is not the one that was built.
    """
    for batch in batches:
        several = "images" in batch.schema.names
        names = image_lists(batch.column("images" if several else "image"))
        digests = image_lists(batch.column("image_sha256"))
        begin = 0
        cells: list[list[_Image | None]] = []
        size = 0
        for row, (images, sha256s) in enumerate(
            zip(names.to_pylist(), digests.to_pylist(), strict=True)
        ):
            cells.append(_cells(images, sha256s or (), reader, shared, max_bytes))
            size += sum(len(cell.bytes) for cell in cells[-1] if cell)
            if len(cells) == GROUP_ROWS or size >= GROUP_BYTES or row + 1 == len(batch):
                part = batch.slice(begin, len(cells))
                yield RowGroup(_table(part, cells, several), size + part.nbytes)
                begin, cells, size = row + 1, [], 0


def _cells(
    images: Sequence[str],
    sha256s: Sequence[str],
    reader: ImageReader,
    shared: SharedImages,
    max_bytes: int,
) -> list[_Image | None]:
    return [
        _Image(_read(image, sha256, reader, max_bytes), image) if shared.is_shared(image) else None
        for image, sha256 in zip(images, sha256s, strict=True)
    ]


def _read(image: str, sha256: str, reader: ImageReader, max_bytes: int) -> bytes:
    try:
        data = reader.read(image, max_bytes)
    except FileNotFoundError:
        raise UserError(image, "is not there any more", _BUILD_AGAIN) from None
    except (DamagedMember, TooManyBytes) as error:
        raise UserError(image, f"cannot be read any more ({error})", _BUILD_AGAIN) from error
    if hashlib.sha256(data).hexdigest() != sha256:
        raise UserError(image, "has changed since the mixture was built", _BUILD_AGAIN)
    return data


def _table(rows: pa.RecordBatch, cells: list[list[_Image | None]], several: bool) -> pa.Table:
    schema = release_schema(several)
    own = "images" if several else "image"
    columns = {("image_paths" if several else "image_path"): rows.column(own)}
    columns |= {name: rows.column(name) for name in rows.schema.names if name != own}
    structs = [[cell and cell._asdict() for cell in some] for some in cells]
    if several:
        columns[own] = pa.array(structs, pa.list_(IMAGE_TYPE))
    else:
        columns[own] = pa.array([some[0] if some else None for some in structs], IMAGE_TYPE)
    return pa.table([columns[name] for name in schema.names], schema=schema)


def without_images(batches: Iterator[pa.RecordBatch], schema: pa.Schema) -> Iterator[RowGroup]:
    """Yield the Samples without images, a batch at a time."""
    for batch in batches:
        table = pa.table(batch.columns, schema=schema)
        yield RowGroup(table, batch.nbytes)
