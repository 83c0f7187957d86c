"""The text of a manifest: UTF-8, of bounded length, without characters that nobody sees."""

import re
from pathlib import Path
from typing import NamedTuple

from imp_data.errors import UserError
from imp_data.storage.small_files import read_small

MOST_BYTES = 1 << 20
_WRITE_YAML = "write a manifest there: a text file of fields, as docs/adding-a-source.md shows"
_SAVE_AS_UTF8 = "save it as UTF-8; an editor offers it when saving"
# Their BOMs; that of UTF-32 begins as that of UTF-16 does.
_WIDE = {b"\xff\xfe\0\0": "UTF-32", b"\0\0\xfe\xff": "UTF-32", b"\xff\xfe": "UTF-16"}
_WIDE[b"\xfe\xff"] = "UTF-16"
# Controls, and what YAML 1.1 takes for the end of a line and YAML 1.2 does not.
_UNSEEN = re.compile(
    "[^\t\n\r -~\xa0-\u2027\u202a-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]"
)


class Spot(NamedTuple):
    """A place in a file; both count from 1, columns in characters."""

    line: int
    column: int

    def __str__(self) -> str:
        return f"line {self.line}, column {self.column}"


def manifest_text(path: Path) -> str:
    """What a manifest holds. Raises UserError with line and column of what is no text."""
    content = read_small(path, MOST_BYTES, _WRITE_YAML)
    for mark, encoding in _WIDE.items():
        if content.startswith(mark):
            raise UserError(path, f"is in {encoding}, not in UTF-8", _SAVE_AS_UTF8)
    try:
        text = content.decode("utf-8").removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        before = content[: error.start].decode("utf-8").removeprefix("\ufeff")
        problem = f"{spot_after(before)}: is not UTF-8 (byte {content[error.start]:#04x})"
        raise UserError(path, problem, _SAVE_AS_UTF8) from None
    if unseen := _UNSEEN.search(text):
        code = ord(unseen.group())
        problem = f"{spot_after(text[: unseen.start()])}: holds the character U+{code:04X}"
        remedy = f'take it out; where text needs it, write "\\u{code:04X}" in double quotes'
        raise UserError(path, problem, remedy)
    if not text.strip():
        raise UserError(path, "is empty", _WRITE_YAML)
    return text


def spot_after(text: str) -> Spot:
    """Where the character stands that follows this text."""
    lines = re.split("\r\n?|\n", text)
    return Spot(len(lines), len(lines[-1]) + 1)
