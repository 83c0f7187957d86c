"""The fingerprint of an image has its status, format, size, sha256 and hashes."""

import hashlib
import struct
import warnings
from pathlib import Path
from zlib import compress, crc32

import imagehash
import numpy as np
import pytest
from conftest import encoded, photo
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageCms, PngImagePlugin

from imp_data.images.decoding import NoImage, decode_rgb
from imp_data.images.fingerprint import Fingerprint, fingerprint_image
from imp_data.images.fingerprint_cache import write_fingerprints
from imp_data.images.reader import ImageReader
from imp_data.manifests import Limits
from imp_data.storage.tables import open_parquet

ORIENTATION = 0x0112
SVG = b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><rect width="9"/></svg>'


def looked_at(folder: Path, content: bytes, name: str = "p.jpg", **limits: int) -> Fingerprint:
    path = folder / "images" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return fingerprint_image(
        name, ImageReader(folder / "images", folder / "raw", ()), Limits(**limits)
    )


def hash_of(image: Image.Image) -> int:
    """imagehash's own hexadecimal form, its first bit the highest."""
    return int(str(imagehash.phash(image)), 16)


def distance(one: int | None, other: int | None) -> int:
    assert one is not None
    assert other is not None
    return (one ^ other).bit_count()


def turned(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    return exif


def test_a_complete_image_has_every_field(tmp_path: Path) -> None:
    content = encoded(photo(1))
    assert looked_at(tmp_path, content, "a/b.png") == Fingerprint(
        image="a/b.png",
        status="ok",
        bytes=len(content),
        sha256=hashlib.sha256(content).hexdigest(),
        format="PNG",
        mode="RGB",
        width=96,
        height=72,
        exif_orientation=1,
        phash=hash_of(photo(1)),
        phash_upright=None,
        problem=None,
    )


def test_an_absent_image_is_missing(tmp_path: Path) -> None:
    reader = ImageReader(tmp_path, tmp_path, ())
    assert fingerprint_image("no.jpg", reader, Limits()) == Fingerprint("no.jpg", "missing")


def test_a_file_without_bytes_is_empty(tmp_path: Path) -> None:
    assert looked_at(tmp_path, b"") == Fingerprint("p.jpg", "empty", bytes=0)


@pytest.mark.parametrize(
    ("content", "status", "problem"),
    [
        (b"Access denied.", "undecodable", "no image format that Pillow knows"),
        (SVG, "undecodable", "no image format that Pillow knows"),
        (encoded(photo(1), "JPEG")[:20], "undecodable", "no image format that Pillow knows"),
        (encoded(photo(1), "JPEG")[:1500], "truncated", "image file is truncated"),
        (encoded(photo(1), "PNG")[:1500], "truncated", "truncated"),
        (encoded(photo(1), "GIF")[:1500], "truncated", "truncated"),
        (encoded(photo(1), "BMP")[:1500], "truncated", "image file is truncated"),
        (encoded(photo(1), "TIFF")[:-1500], "truncated", "image file is truncated"),
    ],
    ids=["text", "svg", "head of jpeg", "jpeg", "png", "gif", "bmp", "tiff"],
)
def test_a_broken_image_has_its_status_and_its_bytes(
    content: bytes, status: str, problem: str, tmp_path: Path
) -> None:
    look = looked_at(tmp_path, content)
    assert (look.status, look.bytes) == (status, len(content))
    assert look.sha256 == hashlib.sha256(content).hexdigest()
    assert problem in str(look.problem)
    assert look.phash is None


def claiming(content: bytes, size: tuple[int, int]) -> bytes:
    """Return a JPEG whose header states this size."""
    frame = max(content.find(b"\xff\xc0"), content.find(b"\xff\xc2")) + 5
    stated = size[1].to_bytes(2, "big") + size[0].to_bytes(2, "big")
    return content[:frame] + stated + content[frame + 4 :]


JPEGS = {
    "baseline": encoded(photo(1, (300, 200)), "JPEG"),
    "progressive": encoded(photo(1, (300, 200)), "JPEG", progressive=True),
    "grey": encoded(photo(1, (300, 200)).convert("L"), "JPEG"),
    "CMYK": encoded(photo(1, (300, 200)).convert("CMYK"), "JPEG"),
    "MPO": encoded(photo(1, (300, 200)), "MPO", save_all=True, append_images=[photo(2)]),
}


@pytest.mark.parametrize("size", [(3_000, 3_000), (300, 232)])
@pytest.mark.parametrize("kind", JPEGS)
def test_a_jpeg_with_too_few_data_for_its_header_is_truncated_by_both_decoders(
    kind: str, size: tuple[int, int], tmp_path: Path
) -> None:
    assert looked_at(tmp_path, JPEGS[kind]).status == "ok"
    content = claiming(JPEGS[kind], size)
    look = looked_at(tmp_path, content)
    assert (look.status, look.width, look.height) == ("truncated", *size)
    assert look.problem == "its data end before its last pixel"
    with pytest.raises(NoImage, match="end before its last pixel"):
        decode_rgb(content, 10_000_000)


def test_a_warning_on_a_jpeg_header_hides_no_warning_on_its_data(tmp_path: Path) -> None:
    tables = JPEGS["baseline"].index(b"\xff\xdb")
    noisy = JPEGS["baseline"][:tables] + b"noise" + JPEGS["baseline"][tables:]
    assert looked_at(tmp_path, noisy).status == "ok"
    assert looked_at(tmp_path, claiming(noisy, (300, 232))).status == "truncated"


def png_of(rows: int, checksum: int | None = None) -> bytes:
    """Return a PNG of 40 by 30 in its header with `rows` rows; `checksum` replaces its own."""
    pixels = b"IDAT" + compress((b"\0" + bytes(range(1, 121))) * rows)
    header = b"IHDR" + struct.pack(">IIBBBBB", 40, 30, 8, 2, 0, 0, 0)
    sums = (crc32(header), crc32(pixels) if checksum is None else checksum, crc32(b"IEND"))
    chunks = zip((header, pixels, b"IEND"), sums, strict=True)
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body) - 4) + body + struct.pack(">I", total) for body, total in chunks
    )


@pytest.mark.parametrize(
    ("content", "status"),
    [
        (png_of(30), "ok"),
        (png_of(29), "truncated"),
        (png_of(0), "truncated"),
        (png_of(30, checksum=1), "undecodable"),
    ],
    ids=["whole", "a row less", "no row", "wrong checksum"],
)
def test_a_png_has_all_its_rows_and_the_checksum_of_its_pixels(
    content: bytes, status: str, tmp_path: Path
) -> None:
    assert looked_at(tmp_path, content).status == status
    if status != "ok":
        with pytest.raises(NoImage):
            decode_rgb(content)


def test_an_image_whose_last_pixel_equals_the_fill_value_is_complete(tmp_path: Path) -> None:
    for level in (0x00, 0xA5):
        assert looked_at(tmp_path, encoded(Image.new("RGB", (40, 30), (level,) * 3))).status == "ok"


def test_more_scans_than_any_encoder_makes_are_refused_before_they_are_decoded(
    tmp_path: Path,
) -> None:
    content = JPEGS["progressive"]
    last = content.rfind(b"\xff\xda")
    again = content[last : last + 2 + content[last + 3]] + b"\0"
    look = looked_at(tmp_path, content[:-2] + again * 600 + b"\xff\xd9")
    assert (look.status, look.problem) == ("undecodable", "has more than 500 scans")


def png_header(width: int, height: int) -> bytes:
    """A PNG that declares a size and ends before its pixels."""
    one = encoded(Image.new("L", (1, 1)))
    size = width.to_bytes(4, "big") + height.to_bytes(4, "big")
    header = b"IHDR" + size + one[24:29]
    return one[:12] + header + crc32(header).to_bytes(4, "big") + one[33:]


def test_an_image_that_declares_too_many_pixels_is_not_decoded(tmp_path: Path) -> None:
    look = looked_at(tmp_path, png_header(200_000, 200_000))
    assert (look.status, look.width, look.height) == ("too_large", 200_000, 200_000)
    assert look.problem == "200000x200000 is more than 178956970 pixels"
    # Decoding is what would show that the pixels are not there.
    assert looked_at(tmp_path, png_header(2_000, 2_000)).status == "truncated"


def test_the_limit_of_pixels_is_the_last_size_allowed(tmp_path: Path) -> None:
    content = encoded(photo(1, (40, 30)))
    assert looked_at(tmp_path, content, max_pixels=1200).status == "ok"
    assert looked_at(tmp_path, content, max_pixels=1199).status == "too_large"


def test_a_file_of_too_many_bytes_is_not_read(tmp_path: Path) -> None:
    look = looked_at(tmp_path, b"x" * 11, max_image_bytes=10)
    assert look == Fingerprint("p.jpg", "too_large", problem="more than 10 bytes")


def test_the_format_is_that_of_the_bytes_not_of_the_name(tmp_path: Path) -> None:
    look = looked_at(tmp_path, encoded(photo(1), "GIF"), "cover.jpg")
    assert (look.status, look.format, look.mode) == ("ok", "GIF", "P")


def in_mode(mode: str) -> Image.Image:
    grey = photo(3).convert("L")
    match mode:
        case "I;16":
            return Image.fromarray(np.asarray(grey, np.uint16) * 256)
        case "F":
            return Image.fromarray(np.asarray(grey, np.float32) / 255)
        case "PA":
            return photo(3).convert("P").convert("PA")
        case _:
            return photo(3).convert(mode)


@pytest.mark.parametrize(
    ("mode", "form"),
    [
        *(("1", "PNG"), ("L", "PNG"), ("LA", "PNG"), ("P", "PNG"), ("RGB", "PNG")),
        *(("RGBA", "PNG"), ("I;16", "PNG"), ("F", "TIFF"), ("PA", "TIFF"), ("CMYK", "TIFF")),
    ],
)
def test_images_of_every_mode_are_read_and_match_the_same_image(
    mode: str, form: str, tmp_path: Path
) -> None:
    look = looked_at(tmp_path, encoded(in_mode(mode), form))
    assert (look.status, look.format, look.mode) == ("ok", form, mode)
    # Dithering and palettes move a few bits; an image clipped to white would move half of them.
    assert distance(look.phash, hash_of(photo(3))) <= 10


def test_a_cmyk_jpeg_is_read(tmp_path: Path) -> None:
    look = looked_at(tmp_path, encoded(in_mode("CMYK"), "JPEG"))
    assert (look.status, look.mode) == ("ok", "CMYK")
    assert distance(look.phash, hash_of(photo(3))) <= 10


def test_an_image_in_lab_is_read(tmp_path: Path) -> None:
    lab, srgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
    image = ImageCms.profileToProfile(photo(3), srgb, lab, outputMode="LAB")
    assert image is not None
    look = looked_at(tmp_path, encoded(image, "TIFF"))
    assert (look.status, look.mode) == ("ok", "LAB")
    assert distance(look.phash, hash_of(photo(3))) <= 2


def test_a_flat_image_has_no_hash(tmp_path: Path) -> None:
    flat = Image.fromarray(np.full((20, 20), 40_000, np.uint16))
    look = looked_at(tmp_path, encoded(flat, exif=turned(6)))
    assert (look.status, look.exif_orientation) == ("ok", 6)
    assert (look.phash, look.phash_upright) == (None, None)


@pytest.mark.parametrize("orientation", range(2, 9))
def test_orientation_is_recorded_and_the_upright_hash_is_that_of_the_turned_image(
    orientation: int, tmp_path: Path
) -> None:
    how = {2: "FLIP_LEFT_RIGHT", 3: "ROTATE_180", 4: "FLIP_TOP_BOTTOM", 5: "TRANSPOSE"}
    how |= {6: "ROTATE_270", 7: "TRANSVERSE", 8: "ROTATE_90"}
    look = looked_at(tmp_path, encoded(photo(5), exif=turned(orientation)))
    upright = photo(5).transpose(Image.Transpose[how[orientation]])
    assert look.exif_orientation == orientation
    assert (look.phash, look.phash_upright) == (hash_of(photo(5)), hash_of(upright))
    assert (look.width, look.height) == (96, 72)


@pytest.mark.parametrize("orientation", [0, 1, 9, 4000])
def test_an_orientation_that_turns_nothing_is_one(orientation: int, tmp_path: Path) -> None:
    look = looked_at(tmp_path, encoded(photo(5), exif=turned(orientation)))
    assert (look.exif_orientation, look.phash_upright) == (1, None)


EXIF = turned(6)
EXIF[0x010E] = "a description"
EXIF[0x829A] = 0.25
TURNED_JPEG = encoded(photo(5), "JPEG", exif=EXIF)


@pytest.mark.parametrize("byte", [0, 1, 13, 255])
def test_exif_damage_at_any_byte_is_ignored(byte: int, tmp_path: Path) -> None:
    first = TURNED_JPEG.index(b"Exif\0\0") + 6
    statuses = set()
    for place in range(first, first + len(EXIF.tobytes()) - 6):
        changed = TURNED_JPEG[:place] + bytes([byte]) + TURNED_JPEG[place + 1 :]
        look = looked_at(tmp_path, changed)
        assert distance(look.phash, hash_of(photo(5))) <= 2, (place, look.problem)
        statuses.add((look.status, look.problem))
    assert statuses == {("ok", None)}


def test_transparency_in_a_palette_is_no_cause_for_a_warning(tmp_path: Path) -> None:
    paletted = photo(5).convert("P")
    content = encoded(paletted, transparency=bytes(range(256)))
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        look = looked_at(tmp_path, content)
    assert (look.status, look.mode, said) == ("ok", "P", [])


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("size", [(33, 17), (300, 200), (1500, 1100)])
def test_the_hash_of_a_png_is_imagehash_s_own(
    seed: int, size: tuple[int, int], tmp_path: Path
) -> None:
    assert looked_at(tmp_path, encoded(photo(seed, size))).phash == hash_of(photo(seed, size))


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("size", [(300, 200), (1100, 700), (2300, 2100)])
def test_a_jpeg_decoded_at_reduced_scale_has_nearly_the_hash_of_the_whole(
    seed: int, size: tuple[int, int], tmp_path: Path
) -> None:
    content = encoded(photo(seed, size), "JPEG", quality=85)
    look = looked_at(tmp_path, content)
    with Image.open(tmp_path / "images" / "p.jpg") as whole:
        assert distance(look.phash, hash_of(whole)) <= 2
    assert (look.mode, look.width, look.height) == ("RGB", *size)


@pytest.mark.parametrize("compressed", [False, True])
def test_a_png_with_megabytes_of_text_is_read(compressed: bool, tmp_path: Path) -> None:
    text = PngImagePlugin.PngInfo()
    text.add_text("parameters", "word " * 600_000, zip=compressed)
    look = looked_at(tmp_path, encoded(photo(5), pnginfo=text))
    assert (look.status, look.phash) == ("ok", hash_of(photo(5)))


HEADS = [encoded(photo(1), form) for form in ("JPEG", "GIF", "BMP", "PNG", "TIFF", "WEBP", "PPM")]


@given(st.sampled_from([b"", *HEADS]), st.integers(0, 600), st.binary(max_size=60))
def test_any_bytes_have_a_fingerprint_and_equal_bytes_an_equal_one(
    tmp_path_factory: pytest.TempPathFactory, head: bytes, cut: int, tail: bytes
) -> None:
    content = head[:cut] + tail + head[cut + 1 :]
    folder = tmp_path_factory.mktemp("any")
    look = looked_at(folder, content, max_pixels=100_000)
    assert look == looked_at(folder, content, max_pixels=100_000)
    assert look.bytes == len(content)
    decoded = look.problem is None and look.exif_orientation is not None
    assert (look.status == "ok") == decoded


def test_fingerprints_are_written_and_read_back_as_they_are(tmp_path: Path) -> None:
    looks = [
        looked_at(tmp_path, encoded(photo(5), exif=turned(6)), "a.png"),
        looked_at(tmp_path, b"text", "b.png"),
        Fingerprint("c.png", "ok", phash=2**64 - 1),
    ]
    path = tmp_path / "f.parquet"
    write_fingerprints(path, looks)
    first = path.read_bytes()
    assert [Fingerprint(**row) for row in open_parquet(path).read().to_pylist()] == looks
    write_fingerprints(path, looks)
    assert path.read_bytes() == first
