"""What one pass over an image's bytes tells: is it whole, what is it, what does it look like."""

import hashlib
from collections.abc import Sequence
from typing import Literal, NamedTuple

import pyarrow as pa
from PIL import Image, UnidentifiedImageError

from imp_data.images.completeness import load_whole
from imp_data.images.decoding import (
    check_pixels,
    has_memory_for,
    lowest_frequencies,
    open_image,
    orientation_of,
    quietly,
)
from imp_data.images.phash import Frequencies, phashes, upright
from imp_data.images.reader import AmbiguousImage, DamagedMember, ImageSource, TooManyBytes
from imp_data.images.refusals import CutShort, NoImage, TooManyPixels
from imp_data.manifests import Limits

Status = Literal["ok", "missing", "ambiguous", "empty", "undecodable", "truncated", "too_large"]

# What decoders say of data that end early.
_CUT_SHORT = ("truncated", "incomplete", "not enough image data")
# Of the images that an ambiguous path may mean.
_MOST_SHOWN = 10

SCHEMA = pa.schema(
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
    stored; `phash_upright` that of the image turned as its EXIF orientation says, where it says
    so: a copy may have been saved either way. A flat image has neither: it is known again by its
    bytes alone. `found_as` is the path by which the image was found where the record spells it in
    another way; a byte that is not UTF-8 stands there as `%E9`.
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


class _Seen(NamedTuple):
    """A row but for its hashes, and what they are made of: as stored and, where turned, upright."""

    row: Fingerprint
    looks: tuple[Frequencies, ...] = ()


def fingerprint(image: str, reader: ImageSource, limits: Limits) -> Fingerprint:
    """Read and look at one image; whatever is wrong with it becomes its status."""
    return fingerprints([image], reader, limits)[0]


def fingerprints(images: Sequence[str], reader: ImageSource, limits: Limits) -> list[Fingerprint]:
    """`fingerprint` of each; together they take less time."""
    with quietly():
        return _hashed([_seen(image, reader, limits) for image in images])


def look(data: bytes, limits: Limits) -> Fingerprint:
    """What an image's bytes show when decoded, without their sha256."""
    with quietly():
        return _hashed([_look(Fingerprint("", "ok"), data, limits)])[0]


def _hashed(seen: Sequence[_Seen]) -> list[Fingerprint]:
    hashes = iter(phashes([look for one in seen for look in one.looks]))
    rows = []
    for row, looks in seen:
        stored, turned, *_ = [*(next(hashes) for _ in looks), None, None]
        rows.append(row._replace(phash=stored, phash_upright=turned))
    return rows


def _seen(image: str, reader: ImageSource, limits: Limits) -> _Seen:
    try:
        data, found_as = reader.found(image, limits.max_image_bytes)
    except AmbiguousImage as error:
        problem = f"may be any of {', '.join(error.candidates[:_MOST_SHOWN])}"
        return _Seen(Fingerprint(image, "ambiguous", problem=problem))
    except FileNotFoundError:
        return _Seen(Fingerprint(image, "missing"))
    except TooManyBytes:
        problem = f"more than {limits.max_image_bytes} bytes"
        return _Seen(Fingerprint(image, "too_large", problem=problem))
    except DamagedMember as error:
        problem = f"in its archive: {error}"
        return _Seen(Fingerprint(image, "undecodable", problem=problem))
    if not data:
        return _Seen(Fingerprint(image, "empty", bytes=0, found_as=found_as))
    sha256 = hashlib.sha256(data).hexdigest()
    known = Fingerprint(image, "ok", len(data), sha256, found_as=found_as)
    return _look(known, data, limits)


def _look(known: Fingerprint, data: bytes, limits: Limits) -> _Seen:
    try:
        with open_image(data, limits.max_pixels) as image:
            width, height = image.size
            known = known._replace(format=image.format, mode=image.mode, width=width, height=height)
            check_pixels(image, limits.max_pixels)
            if image.format == "PNG":
                load_whole(image, data)  # its EXIF may stand after its pixels
            orientation = orientation_of(image)
            stored = lowest_frequencies(image, data)
            turned = (upright(stored, orientation),) if orientation > 1 else ()
            return _Seen(known._replace(exif_orientation=orientation), (stored, *turned))
    except UnidentifiedImageError:
        problem = "no image format that Pillow knows"
        return _Seen(known._replace(status="undecodable", problem=problem))
    except TooManyPixels as error:
        return _Seen(known._replace(status="too_large", problem=str(error)))
    except CutShort as error:
        return _Seen(known._replace(status="truncated", problem=str(error)))
    except NoImage as error:
        return _Seen(known._replace(status="undecodable", problem=str(error)))
    except Image.DecompressionBombError:
        problem = f"holds an image of more than {limits.max_pixels} pixels"
        return _Seen(known._replace(status="too_large", problem=problem))
    except MemoryError:
        if not has_memory_for(known.width or 0, known.height or 0):
            raise  # with more memory the image may be fine
        problem = "asks for more memory than an image of its size can need"
        return _Seen(known._replace(status="undecodable", problem=problem))
    except Exception as error:
        # Decoders raise whatever they meet in damaged bytes: OSError, SyntaxError, struct.error,
        # ValueError, zlib.error… Every one of them is a fact about this image, not a fault here.
        problem = f"{type(error).__name__}: {error}"
        cut = any(words in problem.lower() for words in _CUT_SHORT)
        return _Seen(known._replace(status="truncated" if cut else "undecodable", problem=problem))
