"""Find the columns of a table that hold images, and replace their cells by the images' names.

Public tables hold an image as struct<bytes, path> (the Image feature of `datasets`, with its
metadata or without), alone or in a list, as plain bytes, or as base64 text. The bytes are not read
with the records.
"""

import binascii
import re
from collections.abc import Collection, Mapping
from typing import Any, Literal, NamedTuple

import pyarrow as pa

from imp_data.sample import EmbeddedImage
from imp_data.storage.embedded_names import cell_name
from imp_data.storage.file_kinds import IMAGE_KINDS, detect_kind

# Columns of plain bytes under these names are images: those of public tables, and the file
# endings under which img2dataset writes images to Parquet.
_BYTES_NAMES = frozenset({"image", "images", "img", "decoded_image", "image_bytes"})
_BYTES_NAMES |= {"jpg", "jpeg", "png", "webp", "gif"}
_BASE64_HEAD = 64
_BASE64 = re.compile(rf"[A-Za-z0-9+/\r\n]{{{_BASE64_HEAD}}}")


class ImageColumn(NamedTuple):
    """A column of images, each cell one image or, if `several`, a list of them.

    `plain` cells are bytes or base64 text without a struct around them. `holds` says what a cell
    is: the bytes of an image, or the path of a file.
    """

    name: str
    several: bool
    plain: bool
    holds: Literal["bytes", "path"] = "bytes"


def find_image_columns(schema: pa.Schema, named: Collection[str]) -> dict[str, ImageColumn]:
    """Return the columns of images; those of plain bytes by their names or if `named`."""
    found = (_image_column(field, named) for field in schema)
    return {column.name: column for column in found if column is not None}


def _image_column(field: pa.Field, named: Collection[str]) -> ImageColumn | None:
    several = _is_list(field.type)
    kind = field.type.value_type if several else field.type
    if pa.types.is_struct(kind):
        names = [kind.field(n).name for n in range(kind.num_fields)]
        has_bytes = "bytes" in names and _is_bytes(kind.field("bytes").type)
        return ImageColumn(field.name, several, len(names) == 1) if has_bytes else None
    if _is_bytes(kind) and (field.name in named or field.name.lower() in _BYTES_NAMES):
        return ImageColumn(field.name, several, plain=True)
    return None


def _is_list(kind: pa.DataType) -> bool:
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind))


def _is_bytes(kind: pa.DataType) -> bool:
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def is_base64_image(text: str) -> bool:
    """Return whether a text is an image as base64, alone or as a `data:` URI."""
    head = text[: _BASE64_HEAD * 2]
    if head.startswith("data:image/"):
        return ";base64," in head
    if not _BASE64.match(head):  # almost every text; decoding it would take ten times as long
        return False
    try:
        return detect_kind(binascii.a2b_base64(head[:_BASE64_HEAD])) in IMAGE_KINDS
    except (binascii.Error, ValueError):
        return False


def name_images(
    record: dict[str, Any], row: int, columns: Mapping[str, ImageColumn], file: str
) -> None:
    """Replace the image cells of a record, which is a row of a file.

    A cell becomes an EmbeddedImage, or a list of them; None stays, also within a list.
    """
    for column in columns.values():
        cell = record.get(column.name)
        if column.plain and not column.several:
            record[column.name] = EmbeddedImage(f"{file}/{cell_name(column.name, row)}")
        elif cell is not None:
            record[column.name] = _name_cell(cell, column, file, row)


def _name_cell(cell: Any, column: ImageColumn, file: str, row: int) -> Any:
    if column.holds == "path":
        return [_path(one) for one in cell] if column.several else _path(cell)
    if not column.several:
        return EmbeddedImage(f"{file}/{cell_name(column.name, row)}")
    return [
        None if one is None else EmbeddedImage(f"{file}/{cell_name(column.name, row, number)}")
        for number, one in enumerate(cell)
    ]


def _path(cell: Any) -> Any:
    return cell.get("path") if isinstance(cell, dict) else cell
