"""Check that a JPEG's data fill its header's size: libjpeg fills missing pixels with grey."""

import io
import re

import simplejpeg
from PIL import Image

from imp_data.images.decode_errors import NoImage, TruncatedImage

_SIDE_PX = 60
# libjpeg's warning on data that end early; on bytes after the last scan, which are harmless; and
# the beginnings of its other warnings. Any other text is no warning about the data.
_ENDS_EARLY = "premature end"
_AFTER_ALL = "before marker 0xd9"
_WARNINGS = ("corrupt jpeg data", "inconsistent progression", "invalid sos parameters")
# Encoders write 10 scans; programs that optimize the division write 64.
_MOST_SCANS = 500
_START_OF_SCAN, _END = 0xDA, 0xD9
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_PROGRESSIVE = frozenset({0xC2, 0xC6, 0xCA, 0xCE})
_SAYS_NOTHING = frozenset({*range(0xE0, 0xF0), 0xFE})
_MARKER = re.compile(rb"\xff+([^\x00\xff])", re.DOTALL)
_AFTER_SCAN = re.compile(rb"\xff+[^\x00\xff\xd0-\xd7]", re.DOTALL)
# Additional data for a scan that is not full.
_MORE = bytes(range(1, 255)) * 4


def check_scans(image: Image.Image, data: bytes) -> None:
    """Raise NoImage if a JPEG has more scans than any image needs."""
    if image.info.get("progressive") and data.count(b"\xff\xda") > _MOST_SCANS:
        raise NoImage(f"has more than {_MOST_SCANS} scans")


def check_jpeg(data: bytes) -> None:
    """Raise TruncatedImage or NoImage if a JPEG's compressed data end early or are damaged."""
    warning = _first_warning(_strip_metadata(data))
    if _ENDS_EARLY in warning.lower():
        raise TruncatedImage("its data end before its last pixel")
    if warning.lower().startswith(_WARNINGS):
        if not warning.endswith(_AFTER_ALL):
            raise NoImage(f"its compressed data are damaged ({warning})")
    elif warning and _accepts_more_data(data):  # of a kind that TurboJPEG does not decode
        raise TruncatedImage("its data end before its last pixel")


def _first_warning(jpeg: bytes) -> str:
    """Return libjpeg's first warning or error on these bytes; empty if it has none."""
    try:
        simplejpeg.decode_jpeg(jpeg, "GRAY", min_width=_SIDE_PX, min_height=_SIDE_PX)
    except ValueError as error:
        return str(error)
    return ""


def _accepts_more_data(data: bytes) -> bool:
    """Return whether additional data after each scan change the pixels: the scan is not full."""
    decoded = []
    for more in (b"", _MORE):
        try:
            with Image.open(io.BytesIO(_strip_metadata(data, more)), formats=["JPEG"]) as image:
                image.draft("L", (_SIDE_PX, _SIDE_PX))
                decoded.append(image.tobytes())
        except Exception:
            return False  # Pillow raises the same error on the image itself
    return decoded[0] != decoded[1]


def _strip_metadata(data: bytes, after_scans: bytes = b"") -> bytes:
    """Return a JPEG without the parts that libjpeg may warn of besides its compressed data.

    libjpeg reports only its first warning, so no other may precede it.
    """
    kept, place, progressive = [data[:2]], 2, False
    while found := _MARKER.search(data, place):
        marker, place = found[1][0], found.end()
        if marker == _END:
            return b"".join([*kept, b"\xff\xd9"])
        if marker == 0x01 or 0xD0 <= marker <= 0xD8:
            continue
        size = max(int.from_bytes(data[place : place + 2], "big"), 2)
        segment, place = data[place : place + size], place + size
        progressive = marker in _PROGRESSIVE if marker in _FRAMES else progressive
        if marker == _START_OF_SCAN:
            end = _AFTER_SCAN.search(data, place)
            stop = end.start() if end else len(data)
            header = segment if progressive else segment[:-3] + b"\0\x3f\0"
            kept += [b"\xff\xda", header, data[place:stop], after_scans]
            place = stop
        elif marker not in _SAYS_NOTHING:
            kept += [b"\xff", found[1], segment]
    return b"".join(kept)
