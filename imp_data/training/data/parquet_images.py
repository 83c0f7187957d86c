"""Read images from the Parquet files of a published dataset."""

from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import xxhash

from imp_data.errors import UserError
from imp_data.images.reader import TooManyBytes
from imp_data.storage.folders import is_sidecar, list_files

_TEXT_TYPES = (pa.string(), pa.large_string())


class ImageColumns(NamedTuple):
    """The names of a file's columns of images and of their names."""

    images: str
    names: str


class ImageLocation(NamedTuple):
    """An image's file, row group and row."""

    file: int
    group: int
    row: int


def parquet_files(folder: Path) -> list[Path]:
    """Return the Parquet files below a folder, following symbolic links."""
    names = [name for name, _ in list_files(folder) if name.endswith(".parquet")]
    return [folder / name for name in names if not is_sidecar(name)]


class ParquetImages:
    """Reads images by the names that Samples have for them, as images.reader.ImageReader does.

    A file has a column of {bytes, path}, as datasets.Image stores images. An image's name
    (`coco/train2017/000000033471.jpg`) is in the column `image` of the same row, if that is text,
    or in `path`. If every `path` is a bare file name, as `Dataset.push_to_hub` leaves it, the file
    name identifies the image. A name takes 20 bytes of memory. Reading an image reads its whole
    row group, so row groups should be small.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._paths = parquet_files(folder)
        self._open()
        self._bare_names = True
        found = [place for n in range(len(self._paths)) for place in self._index_names(n)]
        keys = np.array([key for key, _ in found], np.uint64)
        order = np.argsort(keys, kind="stable")
        self._keys = keys[order]
        self._places = np.array([place for _, place in found], np.int32).reshape(-1, 3)[order]

    def read(self, image: str, max_bytes: int) -> bytes:
        """Return the image's bytes.

        Raise FileNotFoundError if no row has it, TooManyBytes if it is too large, and UserError if
        only file names are known and two different images share this one.
        """
        places = self._locate(image)[:1]
        if not places and self._bare_names:
            places = self._locate(PurePosixPath(image).name)
        images = {data for place in places if (data := self._read_bytes(place)) is not None}
        if not images:
            raise FileNotFoundError(image)
        if len(images) > 1:
            raise UserError(
                self.folder,
                f"{len(images)} images have the name {PurePosixPath(image).name}",
                f"add a column `image` with their full names ({image}) to the files",
            )
        data = images.pop()
        if len(data) > max_bytes:
            raise TooManyBytes(len(data))
        return data

    def _locate(self, name: str) -> list[ImageLocation]:
        key = np.uint64(_key(name))
        first, last = np.searchsorted(self._keys, key), np.searchsorted(self._keys, key, "right")
        return [ImageLocation(*row) for row in self._places[first:last].tolist()]

    def _read_bytes(self, place: ImageLocation) -> bytes | None:
        column = self._columns[place.file].images
        try:
            group = self._files[place.file].read_row_group(place.group, [f"{column}.bytes"])
        except (OSError, pa.ArrowException) as error:
            raise _damage_error(self._paths[place.file], error) from error
        data: bytes | None = group.column(column)[place.row].as_py()["bytes"]
        return data

    def __getstate__(self) -> dict[str, Any]:
        return {n: value for n, value in vars(self).items() if n != "_files"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._open()

    def _open(self) -> None:
        self._files, self._columns = [], []
        for path in self._paths:
            try:
                self._files.append(pq.ParquetFile(path.absolute(), memory_map=True))
            except (OSError, pa.ArrowException) as error:
                raise _damage_error(path, error) from error
            self._columns.append(_find_columns(path, self._files[-1].schema_arrow))

    def _index_names(self, file: int) -> Iterator[tuple[int, ImageLocation]]:
        """Yield the key and the location of each image that has a name."""
        column, parquet = self._columns[file].names, self._files[file]
        for group in range(parquet.num_row_groups):
            names = parquet.read_row_group(group, [column]).flatten().column(column)
            for row, name in enumerate(names.to_pylist()):
                if name:
                    self._bare_names = self._bare_names and "/" not in name
                    yield _key(name), ImageLocation(file, group, row)


def _key(name: str) -> int:
    return xxhash.xxh3_64_intdigest(name.encode())


def _find_columns(path: Path, schema: pa.Schema) -> ImageColumns:
    text = "image" in schema.names and schema.field("image").type in _TEXT_TYPES
    for field in schema:
        if pa.types.is_struct(field.type) and {"bytes", "path"} <= {f.name for f in field.type}:
            return ImageColumns(field.name, "image" if text else f"{field.name}.path")
    raise UserError(
        path, "has no column of images ({bytes, path})", "name a folder of files that have one"
    )


def _damage_error(path: Path, error: Exception) -> UserError:
    return UserError(path, f"cannot be read ({error})", "fetch the file again")
