"""Build images chunk by chunk, and alter valid ones in place."""

import io
import struct
import zlib
from typing import Any

import numpy as np
from PIL import Image

SIZE = (300, 200)


def photo(seed: int = 1, size: tuple[int, int] = SIZE) -> Image.Image:
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC)


def encoded(image: Image.Image | None = None, form: str = "JPEG", **options: Any) -> bytes:
    out = io.BytesIO()
    (photo() if image is None else image).save(out, form, **options)
    return out.getvalue()


def put(data: bytes, place: int, value: bytes) -> bytes:
    """Overwrite bytes at an offset; a negative offset counts from the end."""
    at = place % len(data)
    return data[:at] + value + data[at + len(value) :]


def jpeg(
    stated: tuple[int, int] | None = None, image: Image.Image | None = None, **how: Any
) -> bytes:
    """Return a JPEG whose header may state a false size."""
    data = encoded(image, how.pop("form", "JPEG"), **how)
    if stated is None:
        return data
    return put(data, frame(data) + 5, struct.pack(">HH", stated[1], stated[0]))


def frame(data: bytes) -> int:
    """Return the offset of a JPEG's frame header."""
    return min(place for mark in (b"\xff\xc0", b"\xff\xc2") if (place := data.find(mark)) > 0)


def segment(marker: int, data: bytes) -> bytes:
    return bytes([0xFF, marker]) + struct.pack(">H", len(data) + 2) + data


def after_start(data: bytes, more: bytes) -> bytes:
    """Insert bytes after a JPEG's first two."""
    return data[:2] + more + data[2:]


def before_tables(data: bytes, more: bytes) -> bytes:
    """Insert bytes that belong to no segment before a JPEG's quantisation tables."""
    place = data.find(b"\xff\xdb")
    return data[:place] + more + data[place:]


def ended(data: bytes, lost: int) -> bytes:
    """Return a JPEG without its last bytes but with its end marker."""
    return data[: -lost - 2] + b"\xff\xd9"


def scans(count: int, side: int = 1_900) -> bytes:
    """Return a progressive JPEG with many scans; all but the first few are empty."""
    data = jpeg((side, side), progressive=True)
    place = data.rfind(b"\xff\xda")
    head = data[place : place + 2 + int.from_bytes(data[place + 2 : place + 4], "big")]
    return data[:-2] + (head + b"\0") * count + b"\xff\xd9"


def zeros(mib: int) -> bytes:
    """Return a zlib stream of many MiB of zeros, at a thousandth of their size."""
    made = zlib.compressobj(9, zlib.DEFLATED, -15)
    block = made.compress(bytes(1 << 20)) + made.flush(zlib.Z_FULL_FLUSH)
    check = ((mib << 20) % 65_521) << 16 | 1
    return b"\x78\xda" + block * mib + b"\x03\0" + struct.pack(">I", check)


def chunk(kind: bytes, data: bytes, crc: int | None = None, size: int | None = None) -> bytes:
    stated = len(data) if size is None else size
    check = zlib.crc32(kind + data) if crc is None else crc
    return struct.pack(">I", stated) + kind + data + struct.pack(">I", check)


def png(
    size: tuple[int, int] = (40, 30),
    rows: int | None = None,
    colour: int = 2,
    depth: int = 8,
    interlaced: int = 0,
    before: bytes = b"",
    pixels: bytes | None = None,
    **idat: Any,
) -> bytes:
    """A PNG of so many rows of noise, whatever its header says; `idat` are chunk's options."""
    samples = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}.get(colour, 1)
    width = (size[0] * samples * depth + 7) // 8
    if pixels is None:
        noise, count = np.random.default_rng(1), size[1] if rows is None else rows
        pixels = zlib.compress(b"".join(b"\0" + noise.bytes(width) for _ in range(count)))
    header = struct.pack(">IIBBBBB", *size, depth, colour, 0, 0, interlaced)
    body = chunk(b"IDAT", pixels, **idat)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + before + body + chunk(b"IEND", b"")


def gif(
    size: tuple[int, int], codes: int, frame_size: tuple[int, int] | None = None, flags: int = 0
) -> bytes:
    """Return a GIF with one frame, coded with nine bits per pixel."""
    bits = sum(code << 9 * n for n, code in enumerate([256, *(n % 255 for n in range(codes)), 257]))
    data = bits.to_bytes((9 * (codes + 2) + 7) // 8, "little")
    blocks = b"".join(
        bytes([len(b)]) + b for b in (data[n : n + 255] for n in range(0, len(data), 255))
    )
    head = b"GIF89a" + struct.pack("<HHBBB", *size, 0xF7, 0, 0) + bytes(range(256)) * 3
    image = struct.pack("<cHHHHB", b",", 0, 0, *(frame_size or size), flags)
    return head + image + b"\x08" + blocks + b"\0;"


def frames(form: str, count: int) -> bytes:
    first, *others = [Image.new("RGB", (16, 16), (n % 256, n // 256, 0)) for n in range(count)]
    return encoded(first, form, save_all=True, append_images=others)


def bmp(size: tuple[int, int], data: bytes, compression: int = 1, bits: int = 8) -> bytes:
    """Return a BMP of 256 greys; compression 1 is run-length encoding."""
    palette = b"".join(bytes([n, n, n, 0]) for n in range(256))
    start = 54 + len(palette)
    head = b"BM" + struct.pack("<IHHI", start + len(data), 0, 0, start)
    about = struct.pack("<IiiHHIIiiII", 40, *size, 1, bits, compression, len(data), 0, 0, 256, 0)
    return head + about + palette + data


def tiff(*more: tuple[int, int, int], following: int = 0) -> bytes:
    """Return a deflated 64×64 TIFF with extra fields of tag, type and value."""
    plain = {256: (3, 64), 257: (3, 64), 258: (3, 8), 259: (3, 8), 262: (3, 1), 277: (3, 1)}
    fields = {**plain, **{tag: (kind, value) for tag, kind, value in more}}
    if 322 not in fields:
        fields = {273: (4, 300), 279: (4, 40), 278: (3, 64), **fields}
    entries = b"".join(struct.pack("<HHII", t, k, 1, v) for t, (k, v) in sorted(fields.items()))
    head = b"II*\0" + struct.pack("<IH", 8, len(fields)) + entries + struct.pack("<I", following)
    return head.ljust(300, b"\0") + zlib.compress(bytes(4096)).ljust(40, b"\0")


def strips(form: str | None, tag: int, value: int) -> bytes:
    """Return Pillow's TIFF with one altered number in its directory."""
    data = encoded(photo(), "TIFF", compression=form)
    start = int.from_bytes(data[4:8], "little")
    for n in range(int.from_bytes(data[start : start + 2], "little")):
        place = start + 2 + 12 * n
        if int.from_bytes(data[place : place + 2], "little") == tag:
            data = put(data, place + 8, struct.pack("<I", value))
    return data


def ico(image: bytes) -> bytes:
    """Return an icon of any image whose header states 16×16."""
    return struct.pack("<HHHBBBBHHII", 0, 1, 1, 16, 16, 0, 0, 1, 32, len(image), 22) + image


def icns(image: bytes) -> bytes:
    entry = b"ic07" + struct.pack(">I", len(image) + 8) + image
    return b"icns" + struct.pack(">I", len(entry) + 8) + entry


def exif(*entries: tuple[int, int, int, int], following: int = 0) -> bytes:
    """Return an EXIF block of (tag, type, count, value) entries."""
    body = b"".join(struct.pack("<HHII", *entry) for entry in entries)
    ifd = struct.pack("<H", len(entries)) + body + struct.pack("<I", following)
    return b"Exif\0\0II*\0" + struct.pack("<I", 8) + ifd
