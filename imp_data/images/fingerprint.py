"""What one pass over a picture's bytes tells: is it whole, what is it, what does it look like."""

import hashlib
import io
import warnings
from functools import lru_cache
from importlib.metadata import version
from typing import Literal, NamedTuple

import imagehash
import numpy as np
import pyarrow as pa
from PIL import Image, PngImagePlugin, UnidentifiedImageError, features

from imp_data.images.archive import DamagedMember, Shelf, TooManyBytes
from imp_data.manifest import Limits

Status = Literal["ok", "missing", "empty", "undecodable", "truncated", "too_large"]

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
    ]
)

# A JPEG is decoded in grey at 1/2, 1/4 or 1/8 scale where both sides stay this long: the hash
# looks at 32x32. The smallest at which altered copies are found as often as on a full decode;
# at 96 px fewer are (benchmarks/recall.py, docs/decontamination.md).
_DECODED_SIDE_PX = 120
_EXIF_ORIENTATION = 0x0112
# By EXIF orientation. ImageOps.exif_transpose would write the EXIF block anew, and fail where any
# other tag in it is damaged.
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_ICONS = (b"\0\0\1\0", b"icns")
# What JPEG 2000 takes for a pixel, and any decoder for itself and for text chunks.
_PIXEL_BYTES, _DECODER_BYTES = 24, 256 << 20
# Some real pictures carry large text chunks, which Pillow refuses at 1 MiB.
_MAX_PNG_TEXT_BYTES = 64 << 20
_ROWS_AT_ONCE = 256


class Fingerprint(NamedTuple):
    """One row of a fingerprint file.

    `phash` is imagehash's 64-bit perceptual hash, its first bit the highest, of the picture as
    stored; `phash_upright` that of the picture turned as its EXIF orientation says, where it says
    so: a copy may have been saved either way.
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


def decoder() -> str:
    """What a hash depends on; hashes by different decoders are not to be compared."""
    jpeg = features.version("libjpeg_turbo") or features.version("jpg")
    libraries = f"Pillow {version('pillow')}, libjpeg {jpeg}, imagehash {version('imagehash')}"
    return f"{libraries}, {_DECODED_SIDE_PX} px"


def fingerprint(image: str, shelf: Shelf, limits: Limits) -> Fingerprint:
    """Read and look at one picture; whatever is wrong with it becomes its status."""
    try:
        data = shelf.read(image, limits.max_image_bytes)
    except FileNotFoundError:
        return Fingerprint(image, "missing")
    except TooManyBytes:
        problem = f"more than {limits.max_image_bytes} bytes"
        return Fingerprint(image, "too_large", problem=problem)
    except DamagedMember as error:
        return Fingerprint(image, "undecodable", problem=f"in its archive: {error}")
    if not data:
        return Fingerprint(image, "empty", bytes=0)
    known = Fingerprint(image, "ok", len(data), hashlib.sha256(data).hexdigest())
    return look(known, data, limits)


def look(known: Fingerprint, data: bytes, limits: Limits) -> Fingerprint:
    """`known` with what its bytes show when decoded."""
    PngImagePlugin.MAX_TEXT_CHUNK = PngImagePlugin.MAX_TEXT_MEMORY = _MAX_PNG_TEXT_BYTES
    try:
        # What Pillow would warn of is in the fingerprint, or of no concern to a hash.
        with warnings.catch_warnings(action="ignore"), opened(data, limits.max_pixels) as picture:
            width, height = picture.size
            known = known._replace(
                format=picture.format, mode=picture.mode, width=width, height=height
            )
            if width * height > limits.max_pixels:
                problem = f"{width}x{height} is more than {limits.max_pixels} pixels"
                return known._replace(status="too_large", problem=problem)
            Image.MAX_IMAGE_PIXELS = limits.max_pixels  # of a picture within it
            orientation = _orientation(picture)
            picture.draft("L", (_DECODED_SIDE_PX, _DECODED_SIDE_PX))
            picture.load()
            upright = picture.transpose(_UPRIGHT[orientation]) if orientation > 1 else None
            return known._replace(
                exif_orientation=orientation,
                phash=phash(picture),
                phash_upright=phash(upright) if upright else None,
            )
    except UnidentifiedImageError:
        return known._replace(status="undecodable", problem="no picture format that Pillow knows")
    except Image.DecompressionBombError:
        problem = f"holds a picture of more than {limits.max_pixels} pixels"
        return known._replace(status="too_large", problem=problem)
    except MemoryError:
        if not _has_memory_for(known):
            raise  # with more memory the picture may be fine
        problem = "asks for more memory than a picture of its size can need"
        return known._replace(status="undecodable", problem=problem)
    except Exception as error:
        # Decoders raise whatever they meet in damaged bytes: OSError, SyntaxError, struct.error,
        # ValueError, zlib.error… Every one of them is a fact about this picture, not a fault here.
        problem = f"{type(error).__name__}: {error}"
        cut = "truncated" in problem.lower() or "incomplete" in problem.lower()
        return known._replace(status="truncated" if cut else "undecodable", problem=problem)


def opened(data: bytes, max_pixels: int) -> Image.Image:
    """The picture in these bytes, in whatever format Pillow knows by itself."""
    # An icon decodes the picture within it already here; any other is checked before it decodes.
    Image.MAX_IMAGE_PIXELS = max_pixels if data[:4] in _ICONS else None
    return Image.open(io.BytesIO(data), formats=_formats())


def _has_memory_for(known: Fingerprint) -> bool:
    """Whether as much could be had as the hungriest decoder takes; none of it is touched."""
    try:
        np.empty(_DECODER_BYTES + _PIXEL_BYTES * (known.width or 0) * (known.height or 0), np.uint8)
    except MemoryError:
        return False
    return True


@lru_cache(maxsize=1)
def _formats() -> tuple[str, ...]:
    """What Pillow decodes by itself; EPS it hands to Ghostscript, where a machine has that.

    Each is asked in turn whether the bytes are its own, so the most frequent stand first.
    """
    Image.init()
    first = ("JPEG", "PNG")
    return (*first, *sorted(set(Image.OPEN) - {*first, "EPS"}))


def _orientation(picture: Image.Image) -> int:
    try:
        orientation = picture.getexif().get(_EXIF_ORIENTATION, 1)
    except (OSError, SyntaxError, ValueError):
        return 1  # a damaged EXIF block says nothing, and harms nothing
    return orientation if isinstance(orientation, int) and 1 <= orientation <= 8 else 1


def phash(picture: Image.Image) -> int:
    """imagehash.phash as an unsigned 64-bit integer, first bit highest."""
    bits = imagehash.phash(eight_bits(picture)).hash
    return int.from_bytes(np.packbits(bits).tobytes(), "big")


def eight_bits(picture: Image.Image) -> Image.Image:
    """16- and 32-bit greys scaled to 8 bits; Pillow's own conversion would clip them to white."""
    if not picture.mode.startswith(("I", "F")):
        return picture
    values = np.asarray(picture)
    low, high = float(values.min()), float(values.max())
    scaled = np.zeros(values.shape, np.uint8)
    if high > low:
        for top in range(0, len(values), _ROWS_AT_ONCE):  # a float takes eight bytes
            rows = values[top : top + _ROWS_AT_ONCE].astype(np.float64)
            scaled[top : top + _ROWS_AT_ONCE] = (rows - low) * (255 / (high - low))
    return Image.fromarray(scaled)
