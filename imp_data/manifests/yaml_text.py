"""Read the text of a manifest: UTF-8, of bounded length, without invisible control characters."""

import re
from pathlib import Path
from typing import NamedTuple

from imp_data.errors import UserError
from imp_data.storage.small_files import read_small

MAX_BYTES = 1 << 20
_WRITE_YAML = "write a manifest there: a text file of fields, as docs/adding-a-source.md shows"
_SAVE_AS_UTF8 = "save it as UTF-8 in your editor"
# Byte order marks; UTF-32 first, since its mark begins with that of UTF-16.
_WIDE = {b"\xff\xfe\0\0": "UTF-32", b"\0\0\xfe\xff": "UTF-32", b"\xff\xfe": "UTF-16"}
_WIDE[b"\xfe\xff"] = "UTF-16"
# Control characters, and line separators of YAML 1.1 that YAML 1.2 does not accept.
_INVISIBLE = re.compile(
    "[^\t\n\r -~\xa0-\u2027\u202a-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]"
)


class Position(NamedTuple):
    """A position in a file, counted from 1; columns count characters."""

    line: int
    column: int

    def __str__(self) -> str:
        return f"line {self.line}, column {self.column}"


def read_manifest_text(path: Path) -> str:
    """Return the text of a manifest. Raise UserError with the position of what is not text."""
    content = read_small(path, MAX_BYTES, _WRITE_YAML)
    for mark, encoding in _WIDE.items():
        if content.startswith(mark):
            raise UserError(path, f"is in {encoding}, not in UTF-8", _SAVE_AS_UTF8)
    try:
        text = content.decode("utf-8").removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        before = content[: error.start].decode("utf-8").removeprefix("\ufeff")
        problem = f"{position_after(before)}: is not UTF-8 (byte {content[error.start]:#04x})"
        raise UserError(path, problem, _SAVE_AS_UTF8) from None
    if found := _INVISIBLE.search(text):
        code = ord(found.group())
        problem = f"{position_after(text[: found.start()])}: contains the character U+{code:04X}"
        remedy = f'leave it out; if text needs it, write "\\u{code:04X}" in double quotes'
        raise UserError(path, problem, remedy)
    if not text.strip():
        raise UserError(path, "is empty", _WRITE_YAML)
    return text


def position_after(text: str) -> Position:
    """Return the position of the character that follows this text."""
    lines = re.split("\r\n?|\n", text)
    return Position(len(lines), len(lines[-1]) + 1)
