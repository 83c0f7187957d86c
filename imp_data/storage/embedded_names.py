"""Name an image whose bytes stand in a file of records: in a table's row, a tar, or JSON text.

The name goes below the file's path, and begins with `@`: `train-0.parquet/@image/17` is the image
in column `image` of row 17, `train-0.parquet/@images/17/1` the second image of a list in that row,
`train-0.parquet/@messages/17/inner/0` the first one that stands as base64 within that cell.
In a tar it is the member's name: `00000.tar/@/000000017.jpg`; `00000.tar/@/000000017.json/inner/0`
is the first image that stands as base64 in the JSON of that member. In JSON text it is the record's
first and last byte, and the number of the image in it: `a.jsonl/@/0-4711/0`.
"""

from typing import NamedTuple
from urllib.parse import quote, unquote

SEPARATOR = "/@"
_INNER = "inner"


class EmbeddedCell(NamedTuple):
    """A cell of a table: its column, its row in the file, and the number in a list of images.

    If `inner`, the number counts the images that stand as base64 anywhere within the cell.
    """

    column: str
    row: int
    number: int | None
    inner: bool = False


def cell_name(column: str, row: int, number: int | None = None, inner: bool = False) -> str:
    """Return the name of an image in a table."""
    name = f"@{quote(column, safe=' ')}/{row}" + (f"/{_INNER}" if inner else "")
    return name if number is None else f"{name}/{number}"


def parse_cell(name: str) -> EmbeddedCell | None:
    """Return the cell of a name that `cell_name` made, None for any other name."""
    column, *numbers = name.removeprefix("@").split("/")
    inner = len(numbers) == 3 and numbers[1] == _INNER
    numbers = [numbers[0], numbers[2]] if inner else numbers
    if not 1 <= len(numbers) <= 2 or not all(n.isascii() and n.isdigit() for n in numbers):
        return None
    return EmbeddedCell(
        unquote(column), int(numbers[0]), int(numbers[1]) if len(numbers) == 2 else None, inner
    )


def inner_name(member: str, number: int) -> str:
    """Return the name of an image within the JSON of a tar's member."""
    return f"@/{member}/{_INNER}/{number}"


def parse_inner(name: str) -> tuple[str, int] | None:
    """Return member and number of a name that `inner_name` made, without `@/`; else None."""
    rest, _, number = name.rpartition("/")
    member, _, word = rest.rpartition("/")
    is_inner = word == _INNER and number.isascii() and number.isdigit()
    return (member, int(number)) if is_inner and member else None


def span_name(start: int, end: int, number: int) -> str:
    """Return the name of an image in JSON text."""
    return f"@/{start}-{end}/{number}"


def parse_span(name: str) -> tuple[int, int, int] | None:
    """Return start, end and number of a name that `span_name` made, None for any other name."""
    span, _, number = name.removeprefix("@/").partition("/")
    start, _, end = span.partition("-")
    parts = (start, end, number)
    if not all(part.isascii() and part.isdigit() for part in parts):
        return None
    return int(start), int(end), int(number)


def split_embedded(path: str) -> tuple[str, str] | None:
    """Split a path into the file and the image's name in it; None if it names no such image."""
    file, separator, name = path.partition(SEPARATOR)
    return (file, f"@{name}") if separator else None
