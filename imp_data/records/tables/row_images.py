"""Name the images that a record states by their row numbers in other files."""

from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import Any

from imp_data.manifests.sources import ImageRows
from imp_data.sample import EmbeddedImage
from imp_data.storage.embedded_names import cell_name


def name_row_images(
    record: dict[str, Any], columns: Sequence[str], rows: ImageRows, file: str
) -> None:
    """Replace the row numbers in these columns of a record in `file` by the images' names.

    A number below 0 stays, and is refused as no image. Tables that pandas writes have floats, and
    NaN for null, where a column has nulls.
    """
    folder = PurePosixPath(file).parent.as_posix()
    files = PurePosixPath(rows.files.replace("{folder}", folder)).as_posix()

    def name(value: Any) -> Any:
        if isinstance(value, float):
            value = None if value != value else int(value) if value.is_integer() else value
        if type(value) is not int or value < 0:
            return value
        return EmbeddedImage(f"{files}/{cell_name(rows.column, value)}", rows.collection or "")

    for column in columns:
        value = record.get(column)
        if value is not None:
            record[column] = [*map(name, value)] if isinstance(value, list) else name(value)
