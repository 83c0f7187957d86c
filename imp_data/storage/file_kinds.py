"""Detect the kind of a file from its first bytes, ignoring its name."""

import re
from typing import NamedTuple

# Enough for every test here: a tar header has 512 bytes, HTML may begin with comments.
HEAD_BYTES = 4096


class _Mark(NamedTuple):
    """Magic bytes at a fixed offset of every file of one kind."""

    offset: int
    found: bytes
    kind: str


# Tested in this order: a longer mark before its prefix.
_MARKS = (
    _Mark(0, b"\x1f\x8b", "gzip"),
    _Mark(0, b"PK\x03\x04", "zip"),
    _Mark(0, b"PK\x05\x06", "zip"),  # an empty archive
    _Mark(0, b"PK\x07\x08", "zip"),  # the first of several volumes
    _Mark(257, b"ustar", "tar"),
    _Mark(0, b"BZh", "bzip2"),
    _Mark(0, b"\xfd7zXZ\x00", "xz"),
    _Mark(0, b"\x28\xb5\x2f\xfd", "zstd"),
    _Mark(0, b"\x04\x22\x4d\x18", "lz4"),
    _Mark(0, b"7z\xbc\xaf\x27\x1c", "7z"),
    _Mark(0, b"Rar!\x1a\x07", "rar"),
    _Mark(0, b"PAR1", "parquet"),
    _Mark(0, b"PARE", "parquet"),  # with an encrypted footer
    _Mark(0, b"ARROW1", "arrow"),
    _Mark(0, b"\xff\xff\xff\xff", "arrow"),  # the stream format's first message
    _Mark(0, b"\xff\xfe\x00\x00", "utf-32"),
    _Mark(0, b"\x00\x00\xfe\xff", "utf-32"),
    _Mark(0, b"\xff\xfe", "utf-16"),
    _Mark(0, b"\xfe\xff", "utf-16"),
    _Mark(0, b"version https://git-lfs", "git-lfs pointer"),
    _Mark(0, b"version https://hawser", "git-lfs pointer"),  # before it was called LFS
    _Mark(0, b"%PDF-", "pdf"),
    _Mark(0, b"SQLite format 3\x00", "sqlite"),
    _Mark(0, b"\x89HDF\r\n\x1a\n", "hdf5"),
    _Mark(0, b"\x93NUMPY", "numpy"),
    _Mark(0, b"\x80\x02", "pickle"),
    _Mark(0, b"\x80\x03", "pickle"),
    _Mark(0, b"\x80\x04", "pickle"),
    _Mark(0, b"\x80\x05", "pickle"),
    _Mark(0, b"\xff\xd8\xff", "jpeg"),
    _Mark(0, b"\x89PNG\r\n\x1a\n", "png"),
    _Mark(0, b"GIF87a", "gif"),
    _Mark(0, b"GIF89a", "gif"),
    _Mark(8, b"WEBPVP8", "webp"),
    _Mark(0, b"II*\x00", "tiff"),
    _Mark(0, b"MM\x00*", "tiff"),
    _Mark(4, b"ftypavif", "avif"),
    _Mark(4, b"ftypheic", "heic"),
    _Mark(4, b"ftypmif1", "heic"),
    _Mark(0, b"\x00\x00\x00\x0cjP  \r\n", "jpeg 2000"),
    _Mark(0, b"\xff\x4f\xff\x51", "jpeg 2000"),
    _Mark(4, b"ftyp", "mp4"),
)

_DESCRIPTIONS = {
    "gzip": "a gzip file",
    "zip": "a zip archive",
    "tar": "a tar archive",
    "bzip2": "a bzip2 file",
    "xz": "an xz file",
    "zstd": "a zstd file",
    "lz4": "an lz4 file",
    "7z": "a 7z archive",
    "rar": "a RAR archive",
    "parquet": "a Parquet file",
    "arrow": "an Arrow file",
    "utf-16": "text in UTF-16",
    "utf-32": "text in UTF-32",
    "git-lfs pointer": "a Git LFS pointer, not the file itself",
    "html": "an HTML page",
    "xml": "an XML document",
    "pdf": "a PDF document",
    "sqlite": "an SQLite database",
    "hdf5": "an HDF5 file",
    "numpy": "a NumPy array",
    "pickle": "a Python pickle",
    "json": "JSON text",
    "mp4": "an MP4 video",
    "bmp": "a BMP image",
    "zeros": "filled with zero bytes",
    **{
        kind: f"a {kind.upper()} image"
        for kind in ("jpeg", "png", "gif", "webp", "tiff", "heic", "jpeg 2000")
    },
    "avif": "an AVIF image",
}

IMAGE_KINDS = frozenset({"jpeg", "png", "gif", "webp", "tiff", "avif", "heic", "jpeg 2000", "bmp"})

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_COMMENTS = re.compile(rb"(?:\s+|<!--.*?-->|<\?xml[^>]*\?>)*", re.DOTALL)
_HTML = re.compile(rb"<(?:!doctype\s+html|html|head|body|title|meta|script)\b", re.IGNORECASE)
_XML = re.compile(rb"<(?:\?xml\b|!DOCTYPE\b|[A-Za-z_][\w.:-]*(?:\s[^<>]*)?/?>)")
_JSON = re.compile(rb'(?:\{\s*(?:"|\}|$)|\[\s*(?:[\[\]{"0-9-]|true|false|null|$))')


def detect_kind(head: bytes) -> str | None:
    """Return the kind of a file that begins with these bytes; None if it is unknown.

    `head` is the first HEAD_BYTES of the file, or the whole file if it is shorter. The kind is an
    identifier ("gzip", "zip", "utf-16", "json"…); `kind_phrase` makes it a phrase.
    """
    for mark in _MARKS:
        if head.startswith(mark.found, mark.offset):
            return mark.kind
    if head and not head.strip(b"\0"):
        return "zeros"
    if _is_old_tar(head):
        return "tar"
    if head.startswith(b"BM") and int.from_bytes(head[14:18], "little") in _BITMAP_HEADERS:
        return "bmp"
    return _unmarked_utf(head) or _text_kind(head)


def kind_phrase(kind: str | None) -> str:
    """Return a kind as a phrase that completes "the file is …"."""
    return "of an unknown kind" if kind is None else _DESCRIPTIONS[kind]


# Sizes of the header that follows a BMP file's first 14 bytes.
_BITMAP_HEADERS = (12, 40, 52, 56, 64, 108, 124)


def _is_old_tar(head: bytes) -> bool:
    """Return whether a tar header without `ustar` (Unix V7) begins here, by its checksum."""
    if len(head) < 512 or not head[0]:
        return False
    try:
        stated = int(head[148:156].strip(b" \0") or b"-", 8)
    except ValueError:
        return False
    return stated == sum(head[:148]) + 8 * ord(" ") + sum(head[156:512])


def _unmarked_utf(head: bytes) -> str | None:
    """Detect UTF-16 or UTF-32 without a byte order mark by two leading ASCII characters."""
    match [bool(byte) for byte in head[:4]]:
        case [True, False, False, False] | [False, False, False, True]:
            return "utf-32" if _stays_in_units(head, 4) else None
        case [True, False, True, False] | [False, True, False, True]:
            return "utf-16" if _stays_in_units(head, 2) else None
    return None


def _stays_in_units(head: bytes, size: int) -> bool:
    """Return whether the first two characters are ASCII in code units of `size` bytes.

    Later characters may not be ASCII, so only the first two are tested.
    """
    units = [
        head[place : place + size].strip(b"\0") for place in range(0, min(len(head), 16), size)
    ]
    return all(len(unit) == 1 and (unit.isspace() or 32 <= unit[0] < 127) for unit in units[:2])


def _text_kind(head: bytes) -> str | None:
    """Detect HTML, XML or JSON after white space and a UTF-8 byte order mark."""
    text = head.removeprefix(_BYTE_ORDER_MARK).lstrip()
    comments = _COMMENTS.match(text)
    if _HTML.match(text, comments.end() if comments else 0):
        return "html"
    if _XML.match(text):
        return "xml"
    return "json" if _JSON.match(text) else None
