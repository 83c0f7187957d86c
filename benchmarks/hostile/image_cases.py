"""Images with false headers, truncated data or excessive demands, with expected statuses."""

import struct
import zlib
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from hostile.images import (
    after_start,
    before_tables,
    bmp,
    chunk,
    encoded,
    ended,
    exif,
    frame,
    frames,
    gif,
    icns,
    ico,
    jpeg,
    photo,
    png,
    put,
    scans,
    segment,
    strips,
    tiff,
    zeros,
)  # fmt: skip

OK, CUT, BAD, LARGE = "ok", "truncated", "undecodable", "too_large"


class Case(NamedTuple):
    make: Callable[[], bytes]
    status: str


def _lies(**how: object) -> dict[str, Callable[[], bytes]]:
    return {
        f"{claim[0]}x{claim[1]}": partial(jpeg, claim, **how)  # type: ignore[arg-type]
        for claim in ((1_900, 1_900), (300, 232))
    }


def _sampled(luma: int, chroma: int) -> bytes:
    """Return a JPEG with other sampling factors in its header, so that its data are too short."""
    data = jpeg((300, 200))
    place = frame(data)
    for component, value in ((0, luma), (1, chroma), (2, chroma)):
        data = put(data, place + 11 + 3 * component, bytes([value]))
    return data


def _with_frame(kind: int) -> bytes:
    data = jpeg()
    return put(data, frame(data) + 1, bytes([kind]))


def _without(marker: bytes) -> bytes:
    data = jpeg()
    place = data.find(marker)
    return data[:place] + data[place + 2 + int.from_bytes(data[place + 2 : place + 4], "big") :]


def _restarts() -> bytes:
    return jpeg(restart_marker_blocks=5)


def _riff(data: bytes) -> bytes:
    """Return half a WebP with matching size fields."""
    half = data[: len(data) // 2 & ~1]
    return put(
        put(half, 4, struct.pack("<I", len(half) - 8)), 16, struct.pack("<I", len(half) - 20)
    )


def _canvas(side: int) -> bytes:
    data = frames("WEBP", 3)
    return put(data, data.find(b"VP8X") + 12, struct.pack("<I", side - 1)[:3] * 2)


def _runs(rows: int) -> bytes:
    return b"".join(bytes([16, n % 256]) + b"\0\0" for n in range(rows)) + b"\0\1"


_THUMBNAIL = exif((0x0201, 4, 1, 50), (0x0202, 4, 1, 9_000))

LIES = {
    **{f"a JPEG that claims {size}": make for size, make in _lies().items()},
    **{f"a progressive one, {size}": make for size, make in _lies(progressive=True).items()},
    **{f"one in grey, {size}": make for size, make in _lies(image=photo().convert("L")).items()},
    **{f"one in CMYK, {size}": make for size, make in _lies(image=photo().convert("CMYK")).items()},
    **{f"one with restarts, {size}": make for size, make in _lies(restart_marker_blocks=5).items()},
    **{f"one of optimal codes, {size}": make for size, make in _lies(optimize=True).items()},
    **{
        f"one of several images (MPO), {size}": make
        for size, make in _lies(form="MPO", save_all=True, append_images=[photo(2)]).items()
    },
    **{
        f"one sampled {luma:x}/{chroma:x}": partial(_sampled, luma, chroma)
        for luma, chroma in ((0x11, 0x11), (0x12, 0x11), (0x11, 0x12), (0x12, 0x21), (0x21, 0x12))
    },
    "one with bytes between its segments": lambda: before_tables(jpeg((1_900, 1_900)), b"garbage"),
    "one of an unknown colour transform": lambda: after_start(
        jpeg((1_900, 1_900)), segment(0xEE, b"Adobe\0\x64\0\0\0\0\x09")
    ),
    "one of JFIF 9.9": lambda: put(jpeg((1_900, 1_900)), 11, b"\x09\x09"),
    "one whose scan states no spectrum": lambda: (
        lambda data: put(data, data.find(b"\xff\xda") + 11, b"\1\2\3")
    )(jpeg((1_900, 1_900))),
    "a JPEG that lacks 20 bytes before its end": lambda: ended(jpeg(), 20),
    "a JPEG that lacks half before its end": lambda: ended(jpeg(), 2_000),
    "a progressive JPEG that lacks half": lambda: ended(jpeg(progressive=True), 3_000),
    "a JPEG of zeros in its middle": lambda: put(jpeg(), len(jpeg()) // 2, bytes(40)),
    "a JPEG without its end": lambda: jpeg()[:-2],
    "half a JPEG": lambda: jpeg()[:3_000],
    "half a progressive JPEG": lambda: jpeg(progressive=True)[:3_000],
}

IMAGES: dict[str, Case] = {
    **{name: Case(make, CUT) for name, make in LIES.items()},
    "13,000x13,000 claimed over 300x200": Case(lambda: jpeg((13_000, 13_000)), LARGE),
    "65,500x65,500 claimed": Case(lambda: jpeg((65_500, 65_500)), LARGE),
    "a JPEG": Case(jpeg, OK),
    "a JPEG in CMYK": Case(lambda: jpeg(image=photo().convert("CMYK")), OK),
    "a JPEG with restarts": Case(_restarts, OK),
    "a JPEG of 4:4:4": Case(lambda: jpeg(subsampling=0), OK),
    "a JPEG in RGB": Case(lambda: jpeg(keep_rgb=True), OK),
    "several JPEGs in one": Case(
        lambda: encoded(photo(), "MPO", save_all=True, append_images=[photo(2)]), OK
    ),
    "a JPEG that claims less than it has": Case(lambda: jpeg((16, 16)), OK),
    "a progressive JPEG that claims less": Case(lambda: jpeg((16, 16), progressive=True), BAD),
    "a JPEG with more behind its end": Case(lambda: jpeg() + b"PK\3\4" * 99, OK),
    "a JPEG with bytes between its segments": Case(lambda: before_tables(jpeg(), b"garbage"), OK),
    "a JPEG of JFIF 9.9": Case(lambda: put(jpeg(), 11, b"\x09\x09"), OK),
    "a restart that is missing": Case(
        lambda: (lambda d: d[: d.find(b"\xff\xd3")] + d[d.find(b"\xff\xd3") + 2 :])(_restarts()),
        BAD,
    ),
    "a restart out of order": Case(
        lambda: put(_restarts(), _restarts().find(b"\xff\xd3"), b"\xff\xd6"), BAD
    ),
    "no Huffman codes but those of the standard": Case(lambda: _without(b"\xff\xc4"), OK),
    "no quantisation": Case(lambda: _without(b"\xff\xdb"), BAD),
    "no scan": Case(lambda: _without(b"\xff\xda"), BAD),
    "no height": Case(lambda: jpeg((300, 0)), BAD),
    "no width": Case(lambda: jpeg((0, 200)), BAD),
    # Any bits at all are whole data to it.
    "arithmetic coding": Case(lambda: _with_frame(0xC9), OK),
    "lossless JPEG": Case(lambda: _with_frame(0xC3), BAD),
    "hierarchical JPEG": Case(lambda: _with_frame(0xC5), BAD),
    "12 bits a sample": Case(lambda: put(jpeg(), frame(jpeg()) + 4, b"\x0c"), BAD),
    "no components": Case(lambda: put(jpeg(), frame(jpeg()) + 9, b"\0"), BAD),
    "200 components": Case(lambda: put(jpeg(), frame(jpeg()) + 9, b"\xc8"), BAD),
    "10,000 scans": Case(lambda: scans(10_000), BAD),
    "40 empty scans": Case(lambda: scans(40), CUT),
    "600 comments of 64 KB": Case(
        lambda: after_start(jpeg(), segment(0xFE, bytes(65_000)) * 60), OK
    ),
    "EXIF that leads round": Case(
        lambda: after_start(jpeg(), segment(0xE1, exif((0x0112, 3, 1, 1), following=8))), OK
    ),
    "EXIF of 4 billion values": Case(
        lambda: after_start(jpeg(), segment(0xE1, exif((0x010E, 2, 0xFFFFFFFF, 100)))), OK
    ),
    "EXIF whose orientation is a text": Case(
        lambda: after_start(jpeg(), segment(0xE1, exif((0x0112, 2, 4, 0x61626364)))), OK
    ),
    "EXIF of an IFD within itself": Case(
        lambda: after_start(jpeg(), segment(0xE1, exif((0x8769, 4, 1, 8)))), OK
    ),
    "an EXIF thumbnail of 65,500x65,500": Case(
        lambda: after_start(
            jpeg(),
            segment(0xE1, exif((0x0201, 4, 1, 50), (0x0202, 4, 1, 9_000)) + jpeg((65_500, 65_500))),
        ),
        OK,
    ),
    "a profile in 255 parts of which one is there": Case(
        lambda: after_start(jpeg(), segment(0xE2, b"ICC_PROFILE\0\1\xff" + bytes(60_000))), OK
    ),
    "MPO data that lie": Case(
        lambda: after_start(
            jpeg(), segment(0xE2, b"MPF\0II*\0\x08\0\0\0\1\0\x02\xb0\x07\0\xff\xff\xff\xff")
        ),
        OK,
    ),
    "a PNG": Case(png, OK),
    **{
        f"a PNG that lacks its last rows, colour {colour}, {depth} bits": Case(
            partial(png, rows=20, colour=colour, depth=depth), CUT
        )
        for colour, depth in ((0, 1), (0, 8), (0, 16), (2, 8), (2, 16), (4, 8), (6, 8))
    },
    "a PNG that lacks one row": Case(lambda: png(rows=29), CUT),
    "a PNG that has no rows": Case(lambda: png(rows=0), CUT),
    "an interlaced PNG that lacks its last rows": Case(lambda: png(rows=10, interlaced=1), BAD),
    "a PNG of more rows than it claims": Case(lambda: png(rows=60), OK),
    "a PNG of other filters than there are": Case(
        lambda: png(pixels=zlib.compress(b"\x09" * 4_000)), BAD
    ),
    "a PNG of a wrong checksum": Case(lambda: png(crc=1), BAD),
    "a PNG of a flipped bit": Case(lambda: put(png(), 600, bytes([png()[600] ^ 4])), BAD),
    "a PNG whose pixels end otherwise than they say": Case(
        lambda: png(pixels=zlib.compress(bytes(3_630))[:-4] + b"abcd"), BAD
    ),
    "a PNG whose chunk is longer than it is": Case(lambda: png(size=(300, 200), pixels=None), OK),
    "a PNG whose chunk is shorter than it is": Case(
        lambda: (lambda d: put(d, 33, struct.pack(">I", 500)))(png()), BAD
    ),
    "a PNG of a chunk of 4 GB": Case(
        lambda: (lambda d: put(d, 33, struct.pack(">I", 0xFFFFFFF0)))(png()), OK
    ),
    "a PNG of a header with a wrong checksum": Case(lambda: put(png(), 29, b"abcd"), BAD),
    "a PNG of no width": Case(lambda: png((0, 30)), BAD),
    "a PNG of 3 bits": Case(lambda: png(depth=3), BAD),
    "a PNG of colour 5": Case(lambda: png(colour=5), BAD),
    "a PNG of a palette that is missing": Case(lambda: png(colour=3), OK),
    "a PNG of a palette of 300": Case(
        lambda: png(colour=3, before=chunk(b"PLTE", bytes(900))), BAD
    ),
    "a PNG of transparency that is too long": Case(
        lambda: png(before=chunk(b"tRNS", bytes(4_000))), OK
    ),
    "a PNG of 30,000x30,000": Case(lambda: png((30_000, 30_000), pixels=zeros(1)), LARGE),
    "a PNG of 2^31 wide": Case(lambda: png((2**31 - 1, 1), pixels=zeros(1)), LARGE),
    **{
        f"a PNG with 1 GB of {kind.decode()}": Case(
            partial(png, before=chunk(kind, head + zeros(1_024))), BAD
        )
        for kind, head in ((b"zTXt", b"k\0\0"), (b"iTXt", b"k\0\1\0\0\0"), (b"iCCP", b"k\0\0"))
    },
    "a PNG with 64 MiB of pixels too many": Case(
        lambda: png((40, 30), pixels=zlib.compress(bytes(64 << 20))), OK
    ),
    "a PNG of 100,000 chunks": Case(lambda: png(before=chunk(b"teSt", b"") * 100_000), OK),
    "a PNG without its end": Case(lambda: png()[:-12], OK),
    "half a PNG": Case(lambda: png()[: len(png()) // 2], CUT),
    "an animated PNG of frames that are not there": Case(
        lambda: png(before=chunk(b"acTL", struct.pack(">II", 2**31, 0))), OK
    ),
    "an animated PNG of a frame larger than it": Case(
        lambda: png(
            before=chunk(b"acTL", struct.pack(">II", 2, 0))
            + chunk(b"fcTL", struct.pack(">IIIIIHHBB", 0, 9_000, 9_000, 0, 0, 1, 1, 0, 0))
        ),
        BAD,
    ),
    "an icon of a PNG of 30,000x30,000": Case(
        lambda: ico(png((30_000, 30_000), pixels=zeros(1))), LARGE
    ),
    "an icon of an icon": Case(lambda: ico(ico(png())), CUT),
    "an icon of Apple's of a PNG of 30,000x30,000": Case(
        lambda: icns(png((30_000, 30_000), pixels=zeros(1))), LARGE
    ),
    "a GIF": Case(lambda: gif((20, 10), 200), OK),
    "a GIF that lacks its last rows": Case(lambda: gif((20, 20), 200), CUT),
    "an interlaced GIF that lacks its last rows": Case(lambda: gif((20, 20), 200, flags=0x40), CUT),
    "a GIF that has too many pixels": Case(lambda: gif((20, 10), 400), OK),
    "a GIF of no frames": Case(lambda: gif((20, 10), 200)[:781] + b";", BAD),
    "a GIF of a frame of nothing": Case(lambda: gif((20, 10), 0, (0, 0)), BAD),
    "a GIF of a screen larger than its frame": Case(lambda: gif((1_900, 1_900), 200, (20, 10)), OK),
    "a GIF of a frame larger than its screen": Case(lambda: gif((2, 2), 200, (20, 10)), OK),
    "a GIF of a screen of 65,535x65,535": Case(lambda: gif((65_535, 65_535), 200, (20, 10)), LARGE),
    "a GIF of a frame of 65,535x65,535": Case(lambda: gif((2, 2), 200, (65_535, 65_535)), LARGE),
    "a GIF of an impossible code size": Case(lambda: put(gif((20, 10), 200), 791, b"\x40"), BAD),
    "a GIF of 2,000 frames": Case(lambda: frames("GIF", 2_000), OK),
    "half a GIF": Case(lambda: gif((20, 10), 200)[:900], CUT),
    "a WebP": Case(lambda: encoded(form="WEBP"), OK),
    "half a WebP": Case(lambda: encoded(form="WEBP")[:500], BAD),
    "half a WebP whose sizes say so": Case(lambda: _riff(encoded(form="WEBP")), BAD),
    "half a lossless WebP whose sizes say so": Case(
        lambda: _riff(encoded(form="WEBP", lossless=True)), BAD
    ),
    "a WebP that claims 16,383x16,383": Case(lambda: _canvas(16_383), BAD),
    "a WebP that claims 2^24 x 2^24": Case(lambda: _canvas(1 << 24), BAD),
    "a BMP": Case(lambda: encoded(form="BMP"), OK),
    "a BMP from top to bottom": Case(
        lambda: put(encoded(form="BMP"), 22, struct.pack("<i", -200)), OK
    ),
    "a BMP taller than it is": Case(
        lambda: put(encoded(form="BMP"), 22, struct.pack("<i", 400)), CUT
    ),
    "a BMP of a height of -2^31": Case(
        lambda: put(encoded(form="BMP"), 22, struct.pack("<i", -(2**31))), LARGE
    ),
    "a BMP of a height of 2^31 - 1": Case(
        lambda: put(encoded(form="BMP"), 22, struct.pack("<i", 2**31 - 1)), LARGE
    ),
    "a BMP that begins beyond its end": Case(
        lambda: put(encoded(form="BMP"), 10, struct.pack("<I", 10**9)), CUT
    ),
    "a BMP of 3 bits": Case(lambda: bmp((16, 16), bytes(256), 0, 3), BAD),
    "a BMP of run lengths": Case(lambda: bmp((16, 16), _runs(16)), OK),
    "a BMP whose run lengths end early": Case(lambda: bmp((16, 300), _runs(16)), CUT),
    "a BMP of an unknown compression": Case(lambda: bmp((16, 16), bytes(256), 77), BAD),
    "a TIFF": Case(lambda: encoded(form="TIFF"), OK),
    "a TIFF of which strips are missing": Case(lambda: strips(None, 257, 400), CUT),
    **{
        f"a TIFF taller than it is, {form}": Case(partial(strips, form, 257, 400), BAD)
        for form in ("tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg")
    },
    "a TIFF of tiles of 65,520x65,520": Case(
        lambda: tiff((322, 4, 65_520), (323, 4, 65_520), (324, 4, 300), (325, 4, 20)), BAD
    ),
    "a TIFF of a strip of 4 GB": Case(
        lambda: tiff((278, 4, 0xFFFFFFF0), (279, 4, 0xFFFFFF00)), BAD
    ),
    "a TIFF of a strip beyond its end": Case(lambda: tiff((273, 4, 10**9)), BAD),
    "a TIFF of 60,000 samples": Case(lambda: tiff((277, 3, 60_000)), BAD),
    "a TIFF of an unknown compression": Case(lambda: tiff((259, 3, 777)), BAD),
    "a TIFF whose directory leads round": Case(lambda: tiff(following=8), OK),
    "a TIFF whose directory is beyond its end": Case(
        lambda: put(tiff(), 4, struct.pack("<I", 10**9)), BAD
    ),
    "a TIFF of 300 pages": Case(lambda: frames("TIFF", 300), OK),
    "half a TIFF": Case(lambda: encoded(form="TIFF")[:90_000], CUT),
    "a PPM of 10^9 x 10^9": Case(lambda: b"P6 1000000000 1000000000 255\n", LARGE),
    "a PPM whose number does not end": Case(lambda: b"P6 " + b"9" * 10**6, BAD),
    "a plain PPM that ends early": Case(lambda: b"P2 100 100 255\n" + b"1 2 3 " * 99, CUT),
    "half a JPEG 2000": Case(lambda: encoded(form="JPEG2000")[:3_000], BAD),
    "a JPEG 2000 that lacks half before its end": Case(
        lambda: encoded(form="JPEG2000")[:3_000] + b"\xff\xd9", BAD
    ),
    "half an AVIF": Case(lambda: encoded(form="AVIF")[:400], BAD),
    "an AVIF of zeros at its end": Case(lambda: encoded(form="AVIF")[:-300] + bytes(300), BAD),
    "half a QOI": Case(lambda: encoded(form="QOI")[:9_000], CUT),
    "half a DDS": Case(lambda: encoded(form="DDS")[:9_000], CUT),
    "half a TGA": Case(lambda: encoded(form="TGA")[:9_000], CUT),
    "half an SGI": Case(lambda: encoded(form="SGI")[:9_000], CUT),
    "half a PCX": Case(lambda: encoded(form="PCX")[:9_000], CUT),
    "a TGA whose run lengths end early": Case(
        lambda: (
            struct.pack("<BBBHHBHHHHBB", 0, 0, 10, *[0] * 5, 100, 100, 24, 0) + b"\xff\1\2\3" * 5
        ),
        BAD,
    ),
    "PostScript": Case(lambda: b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\nshowpage\n", BAD),
    "SVG": Case(lambda: b'<svg xmlns="http://www.w3.org/2000/svg"><script>1</script></svg>', BAD),
    "HTML": Case(lambda: b"<!doctype html><title>404</title>", BAD),
    "a text": Case(lambda: b"Access denied.", BAD),
    "a zip": Case(lambda: b"PK\5\6" + bytes(18), BAD),
    "zeros": Case(lambda: bytes(100_000), BAD),
}
