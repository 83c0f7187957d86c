"""Read images that stand in files of records, by the names that storage.embedded_names makes."""

from functools import lru_cache
from pathlib import Path

from imp_data.errors import UserError
from imp_data.images.archive_errors import DamagedMember
from imp_data.images.row_files import locate
from imp_data.images.table_images import (
    State,
    decode_base64,
    find_row_group,
    read_arrow_image,
    read_parquet_image,
)
from imp_data.ledger import Verdict
from imp_data.records.json_array.parse import parse
from imp_data.records.tables.json_images import find_json_image
from imp_data.storage.digests import file_version
from imp_data.storage.embedded_names import parse_cell, parse_span, split_embedded
from imp_data.storage.file_kinds import HEAD_BYTES, detect_kind
from imp_data.storage.range_reader import open_file


def read_embedded(file: Path, state: State, name: str, max_bytes: int) -> bytes | None:
    """Return the bytes of an image in a table or in JSON text; None if there is none.

    Raise DamagedMember, TooManyBytes; UserError if the file is damaged as a whole.
    """
    cell, span = parse_cell(name), parse_span(name)
    match file_kind(file, state):
        case "parquet":
            return None if cell is None else read_parquet_image(file, state, cell, max_bytes)
        case "arrow":
            return None if cell is None else read_arrow_image(file, cell, max_bytes)
    return None if span is None else _read_json_image(file, *span, max_bytes)


@lru_cache(maxsize=256)
def file_kind(file: Path, state: State) -> str | None:
    """Return the kind of a file by its first bytes; determined once in each process."""
    with open_file(file) as opened:
        return detect_kind(opened.read(HEAD_BYTES))


def _read_json_image(file: Path, start: int, end: int, number: int, max_bytes: int) -> bytes | None:
    with open_file(file) as opened:
        opened.seek(start)
        return read_json_image(opened.read(end - start), number, max_bytes)


def read_json_image(text: bytes, number: int, max_bytes: int) -> bytes | None:
    """Return the bytes of an image within JSON text, by its number; None if there is none.

    Raise DamagedMember, TooManyBytes.
    """
    parsed = parse(text)
    if isinstance(parsed, Verdict):
        raise DamagedMember(f"its record is damaged: {parsed.reason.sentence}")
    found = find_json_image(parsed[0], number)
    return None if found is None else decode_base64(found, max_bytes)


def reading_order(image: str) -> tuple[str, str, int, int]:
    """Return a key that sorts images of tables as they lie there; all other images are equal."""
    found = split_embedded(image)
    cell = parse_cell(found[1]) if found else None
    if found is None or cell is None:
        return "", "", 0, 0
    return found[0], cell.column, cell.row, -1 if cell.number is None else cell.number


def block_of(image: str, raw: Path) -> tuple[str, str, int] | None:
    """Return the file, column and row group of an image in Parquet; None for any other image.

    A row group can only be decoded from its start, so its images are best read together.
    """
    found = split_embedded(image)
    cell = parse_cell(found[1]) if found else None
    if found is None or cell is None:
        return None
    try:
        located = locate(raw, *found)
        cell = parse_cell(located[1]) if located else None
        if located is None or cell is None:
            return None
        file = located[0]
        state = _first_state(file)
        if file_kind(file, state) == "parquet":
            return str(file), cell.column, find_row_group(file, state, cell.row)[0]
    except (UserError, OSError):
        pass  # reading the image raises it again
    return None


@lru_cache(maxsize=256)
def _first_state(file: Path) -> State:
    """Return the state of a file when this process first saw it: a stale one does no harm here."""
    return file_version(file) or 0
