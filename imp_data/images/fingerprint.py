"""Fingerprint an image in one pass over its bytes: status, format, size, sha256 and hashes."""

import hashlib
from collections.abc import Sequence
from typing import Literal, NamedTuple

import pyarrow as pa
from PIL import Image, UnidentifiedImageError

from imp_data.images.completeness import load_whole
from imp_data.images.decode_errors import NoImage, TooManyPixels, TruncatedImage
from imp_data.images.decoding import (
    check_pixels,
    has_memory_for,
    lowest_frequencies,
    open_image,
    read_orientation,
    without_warnings,
)
from imp_data.images.phash import Frequencies, phashes, upright
from imp_data.images.reader import AmbiguousImage, DamagedMember, ImageSource, TooManyBytes
from imp_data.images.row_files import MissingRow
from imp_data.manifests import Limits

Status = Literal["ok", "missing", "ambiguous", "empty", "undecodable", "truncated", "too_large"]

# Words of decoder errors on data that end early.
_CUT_SHORT = ("truncated", "incomplete", "not enough image data")
# Candidates that the problem of an ambiguous path lists.
_MOST_SHOWN = 10

FINGERPRINT_SCHEMA = pa.schema(
    [
        pa.field("image", pa.string()),
        pa.field("status", pa.string()),
        pa.field("bytes", pa.int64()),
        pa.field("sha256", pa.string()),
        pa.field("format", pa.string()),
        pa.field("mode", pa.string()),
        pa.field("width", pa.int32()),
        pa.field("height", pa.int32()),
        pa.field("exif_orientation", pa.int32()),
        pa.field("phash", pa.uint64()),
        pa.field("phash_upright", pa.uint64()),
        pa.field("problem", pa.string()),
        pa.field("found_as", pa.string()),
    ]
)


class Fingerprint(NamedTuple):
    """One row of a fingerprint file.

    `phash` is imagehash's 64-bit perceptual hash, its first bit the highest, of the image as
    stored; `phash_upright` that of the image turned by its EXIF orientation, if it has one: a copy
    may have been saved either way. A flat image has neither and is recognized by its bytes alone.
    `found_as` is the path of the image where the record spells it differently; a byte that is not
    UTF-8 is written as `%E9`.
    """

    image: str
    status: Status
    bytes: int | None = None
    sha256: str | None = None
    format: str | None = None
    mode: str | None = None
    width: int | None = None
    height: int | None = None
    exif_orientation: int | None = None
    phash: int | None = None
    phash_upright: int | None = None
    problem: str | None = None
    found_as: str | None = None


class _Unhashed(NamedTuple):
    """A row without hashes, and the frequencies to hash: stored and, if EXIF turns it, upright."""

    row: Fingerprint
    frequencies: tuple[Frequencies, ...] = ()


def fingerprint_image(image: str, reader: ImageSource, limits: Limits) -> Fingerprint:
    """Read and fingerprint one image; any fault of the image becomes its status."""
    return fingerprint_images([image], reader, limits)[0]


def fingerprint_images(
    images: Sequence[str], reader: ImageSource, limits: Limits
) -> list[Fingerprint]:
    """Fingerprint several images; a batch takes less time than single calls."""
    with without_warnings():
        return _add_hashes([_read_and_decode(image, reader, limits) for image in images])


def fingerprint_bytes(data: bytes, limits: Limits) -> Fingerprint:
    """Fingerprint an image from its bytes, without their sha256."""
    with without_warnings():
        return _add_hashes([_decode(Fingerprint("", "ok"), data, limits)])[0]


def _add_hashes(unhashed: Sequence[_Unhashed]) -> list[Fingerprint]:
    hashes = iter(phashes([each for one in unhashed for each in one.frequencies]))
    rows = []
    for row, frequencies in unhashed:
        stored, turned, *_ = [*(next(hashes) for _ in frequencies), None, None]
        rows.append(row._replace(phash=stored, phash_upright=turned))
    return rows


def _read_and_decode(image: str, reader: ImageSource, limits: Limits) -> _Unhashed:
    try:
        data, found_as = reader.read_with_spelling(image, limits.max_image_bytes)
    except AmbiguousImage as error:
        problem = f"may be any of {', '.join(error.candidates[:_MOST_SHOWN])}"
        return _Unhashed(Fingerprint(image, "ambiguous", problem=problem))
    except MissingRow as error:
        return _Unhashed(Fingerprint(image, "missing", problem=error.problem))
    except FileNotFoundError:
        return _Unhashed(Fingerprint(image, "missing"))
    except TooManyBytes:
        problem = f"more than {limits.max_image_bytes} bytes"
        return _Unhashed(Fingerprint(image, "too_large", problem=problem))
    except DamagedMember as error:
        problem = f"in its archive: {error}"
        return _Unhashed(Fingerprint(image, "undecodable", problem=problem))
    if not data:
        return _Unhashed(Fingerprint(image, "empty", bytes=0, found_as=found_as))
    sha256 = hashlib.sha256(data).hexdigest()
    known = Fingerprint(image, "ok", len(data), sha256, found_as=found_as)
    return _decode(known, data, limits)


def _decode(known: Fingerprint, data: bytes, limits: Limits) -> _Unhashed:
    try:
        with open_image(data, limits.max_pixels) as image:
            width, height = image.size
            known = known._replace(format=image.format, mode=image.mode, width=width, height=height)
            check_pixels(image, limits.max_pixels)
            if image.format == "PNG":
                load_whole(image, data)  # its EXIF may stand after its pixels
            orientation = read_orientation(image)
            stored = lowest_frequencies(image, data)
            turned = (upright(stored, orientation),) if orientation > 1 else ()
            return _Unhashed(known._replace(exif_orientation=orientation), (stored, *turned))
    except UnidentifiedImageError:
        problem = "no image format that Pillow knows"
        return _Unhashed(known._replace(status="undecodable", problem=problem))
    except TooManyPixels as error:
        return _Unhashed(known._replace(status="too_large", problem=str(error)))
    except TruncatedImage as error:
        return _Unhashed(known._replace(status="truncated", problem=str(error)))
    except NoImage as error:
        return _Unhashed(known._replace(status="undecodable", problem=str(error)))
    except Image.DecompressionBombError:
        problem = f"holds an image of more than {limits.max_pixels} pixels"
        return _Unhashed(known._replace(status="too_large", problem=problem))
    except MemoryError:
        if not has_memory_for(known.width or 0, known.height or 0):
            raise  # with more memory the image may be fine
        problem = "asks for more memory than an image of its size can need"
        return _Unhashed(known._replace(status="undecodable", problem=problem))
    except Exception as error:
        # Decoders raise many types on damaged bytes: OSError, SyntaxError, struct.error,
        # ValueError, zlib.error… Each is a property of the image and not an error of this program.
        problem = f"{type(error).__name__}: {error}"
        cut = any(words in problem.lower() for words in _CUT_SHORT)
        return _Unhashed(
            known._replace(status="truncated" if cut else "undecodable", problem=problem)
        )
