"""Harmful images end with their reason, and no other image is lost."""

import io
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import PUBLISHED, World, encoded, photo, record
from faulty import apart, digests, lay_gallery, manifest_of, outcomes, rebuild_apart
from PIL import Image

from imp_data.images.fingerprint import Fingerprint, fingerprint_image
from imp_data.images.reader import ImageReader
from imp_data.manifests import ImageFolder, Limits

# Far below Pillow's own limit, so that what is refused would be cheap to decode as well.
LIMITS = {"max_pixels": 4_000_000, "max_image_bytes": 8 << 20, "max_decode_seconds": 1}
# What a decoder may take for 4 million pixels, and the most text a PNG may hold, twice.
MOST_MIB = 200


def zeros(mib: int) -> bytes:
    """A zlib stream of so many MiB of zeros, a thousandth as long."""
    made = zlib.compressobj(9, zlib.DEFLATED, -15)
    block = made.compress(bytes(1 << 20)) + made.flush(zlib.Z_FULL_FLUSH)
    check = ((mib << 20) % 65_521) << 16 | 1
    return b"\x78\xda" + block * mib + b"\x03\0" + struct.pack(">I", check)


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, pixels: bytes, before: bytes = b"") -> bytes:
    """A grey PNG, whatever its pixels are."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    body = before + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + header + body


def huge_png() -> bytes:
    """30,000 × 30,000 zeros, whole."""
    return png(30_000, 30_000, zeros(1_000))


def small_png(before: bytes = b"") -> bytes:
    return png(16, 16, zlib.compress(bytes(17 * 16)), before)


def ico(image: bytes) -> bytes:
    """An icon that says it is 16×16, of whatever image."""
    return struct.pack("<HHHBBBBHHII", 0, 1, 1, 16, 16, 0, 0, 1, 32, len(image), 22) + image


def icns(image: bytes) -> bytes:
    entry = b"ic07" + struct.pack(">I", len(image) + 8) + image
    return b"icns" + struct.pack(">I", len(entry) + 8) + entry


def jpeg(stated: tuple[int, int], drawn: tuple[int, int] = (64, 64), **options: bool) -> bytes:
    """A JPEG whose header states another size than it was drawn in."""
    data = bytearray(encoded(photo(1, drawn), "JPEG", **options))
    frame = data.find(b"\xff\xc2" if options else b"\xff\xc0")
    data[frame + 5 : frame + 9] = struct.pack(">HH", *stated)
    return bytes(data)


def frames(form: str, count: int) -> bytes:
    first, *others = [Image.new("RGB", (16, 16), (n % 256, n // 256, 0)) for n in range(count)]
    return encoded(first, form, save_all=True, append_images=others)


def gif(width: int, height: int) -> bytes:
    """A GIF of 16×16 whose screen is stated to be larger."""
    data = bytearray(encoded(Image.new("P", (16, 16), 3), "GIF"))
    data[6:10] = struct.pack("<HH", width, height)
    return bytes(data)


def webp(side: int) -> bytes:
    """A WebP animation of 16×16 whose canvas is stated to be larger."""
    data = bytearray(frames("WEBP", 3))
    place = data.find(b"VP8X") + 12
    data[place : place + 6] = struct.pack("<I", side - 1)[:3] * 2
    return bytes(data)


def tiff(*more: tuple[int, int, int]) -> bytes:
    """A TIFF of 64×64, deflated, with more fields of tag, type and value."""
    plain = [(256, 3, 64), (257, 3, 64), (258, 3, 8), (259, 3, 8), (262, 3, 1), (277, 3, 1)]
    fields = sorted([*plain, *more])
    entries = b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in fields)
    head = b"II*\0" + struct.pack("<IH", 8, len(fields)) + entries + bytes(4)
    return head.ljust(200, b"\0") + zlib.compress(bytes(4096))


def text(kind: bytes) -> bytes:
    """A PNG with a text of a gigabyte."""
    head = {b"zTXt": b"k\0\0", b"iTXt": b"k\0\1\0\0\0", b"iCCP": b"k\0\0"}[kind]
    return small_png(chunk(kind, head + zeros(1_024)))


HARMFUL: dict[str, tuple[Callable[[], bytes], str]] = {
    "a PNG of 30,000×30,000": (huge_png, "too_large"),
    "an icon of such a PNG": (lambda: ico(huge_png()), "too_large"),
    "an icon of Apple's of such a PNG": (lambda: icns(huge_png()), "too_large"),
    "a JPEG that claims 65,500×65,500": (lambda: jpeg((65_500, 65_500)), "too_large"),
    "a JPEG that claims more than it has": (lambda: jpeg((1_900, 1_900)), "truncated"),
    "a progressive JPEG that does": (
        lambda: jpeg((1_900, 1_900), progressive=True),
        "truncated",
    ),
    "a JPEG that claims less than it has": (lambda: jpeg((16, 16), (1_900, 1_900)), "ok"),
    "a GIF of 2,000 frames": (lambda: frames("GIF", 2_000), "ok"),
    "a GIF that claims 65,535×65,535": (lambda: gif(65_535, 65_535), "too_large"),
    "a GIF that claims more than it has": (lambda: gif(1_900, 1_900), "ok"),
    "a WebP that claims 16,383×16,383": (lambda: webp(16_383), "undecodable"),
    "a TIFF of 300 pages": (lambda: frames("TIFF", 300), "ok"),
    "a TIFF of a tile of 65,520×65,520": (
        lambda: tiff((322, 4, 65_520), (323, 4, 65_520), (324, 4, 200), (325, 4, 20)),
        "undecodable",
    ),
    "a TIFF of a strip of 4 GB": (
        lambda: tiff((278, 4, 0xFFFFFFF0), (273, 4, 200), (279, 4, 0xFFFFFF00)),
        "undecodable",
    ),
    "a PNG with 1 GB of zTXt": (lambda: text(b"zTXt"), "undecodable"),
    "a PNG with 1 GB of iTXt": (lambda: text(b"iTXt"), "undecodable"),
    "a PNG with a profile of 1 GB": (lambda: text(b"iCCP"), "undecodable"),
}


def looked_at(images: list[str], reader: ImageReader) -> list[tuple[Fingerprint, int]]:
    """Fingerprints, and the MiB that each took at its peak above what the process had."""

    def peak_kib() -> int:
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))

    found = []
    for image in images:
        Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
        before = peak_kib()
        found.append(
            (fingerprint_image(image, reader, Limits(**LIMITS)), (peak_kib() - before) >> 10)
        )
    return found


@pytest.fixture(scope="module")
def harmful() -> dict[str, bytes]:
    """By file name, in the order of the table."""
    return {f"harm{n}.jpg": make() for n, (make, _) in enumerate(HARMFUL.values())}


def test_no_image_takes_more_memory_than_its_limits_allow(
    harmful: dict[str, bytes], tmp_path: Path
) -> None:
    for name, data in {"plain.png": encoded(photo(1)), **harmful}.items():
        (tmp_path / name).write_bytes(data)
    reader = ImageReader(tmp_path, tmp_path, ())
    apart(looked_at, ["plain.png"], reader)
    _, *looks = apart(looked_at, ["plain.png", *harmful], reader)
    told = {what: (look, mib) for what, (look, mib) in zip(HARMFUL, looks, strict=True)}
    assert {what: mib for what, (_, mib) in told.items() if mib > MOST_MIB} == {}
    statuses = {what: look.status for what, (look, _) in told.items()}
    assert statuses == {what: status for what, (_, status) in HARMFUL.items()}


@pytest.mark.slow
def test_sixteen_bit_greys_take_no_more_than_others(tmp_path: Path) -> None:
    wide = Image.new("I;16", (6_000, 6_000), 1)
    wide.putpixel((0, 0), 60_000)
    (tmp_path / "wide.png").write_bytes(encoded(wide))
    (look, mib) = apart(looked_at_whole, "wide.png", ImageReader(tmp_path, tmp_path, ()))
    assert look.status == "ok"
    assert mib < 36 * 10  # 36 million pixels of two bytes, held a few times


def looked_at_whole(image: str, reader: ImageReader) -> tuple[Fingerprint, int]:
    LIMITS["max_pixels"] = 40_000_000
    return looked_at([image], reader)[0]


TRAP = """
import ctypes, os, time
from PIL import Image
def open_trap(file, name):
    what = file.read(9)
    if what == b"TRAPcrash":
        ctypes.string_at(0)
    if what == b"TRAPabort":
        os.abort()
    while True:
        pass
Image.register_open("TRAP", open_trap, lambda prefix: prefix.startswith(b"TRAP"))
"""
TRAPS = {
    "crash.png": (b"TRAPcrash", "crashes its decoder"),
    "abort.png": (b"TRAPabort", "crashes its decoder"),
    "spin.png": (b"TRAPendless", "keeps its decoder busy for more than 1 s"),
}


@pytest.mark.slow
def test_a_decoder_that_crashes_or_never_ends_fails_its_image_alone(tmp_path: Path) -> None:
    world = World(tmp_path)
    lay_gallery(world, {name: data for name, (data, _) in TRAPS.items()}, count=40)
    world.build({"photos": 43}, limits=LIMITS)
    (tmp_path / "sitecustomize.py").write_text(TRAP)
    done = rebuild_apart(manifest_of(world), world.data.root, PYTHONPATH=str(tmp_path))
    assert done.returncode == 0, done.stderr
    fates = outcomes(world.data.root)
    assert {name: fates.pop(name)[1:] for name in TRAPS} == {
        name: ("image_undecodable", {"image": f"photos/{name}", "problem": problem})
        for name, (_, problem) in TRAPS.items()
    }
    assert list(fates.values()) == [("kept", None, {})] * 40


def packed(members: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return out.getvalue()


def altered(data: bytes, name: str, offset: int, value: bytes, central: bool = True) -> bytes:
    """Return a zip with some bytes of a directory entry replaced."""
    place = data.rindex(name.encode()) - 46 if central else data.index(name.encode()) - 30
    return data[: place + offset] + value + data[place + offset + len(value) :]


def damaged_zip() -> bytes:
    """Nine members: one as it should be, and one for each way in which one may not be."""
    names = [f"{n}.png" for n in range(9)]
    members = {name: encoded(photo(n)) for n, name in enumerate(names)}
    members["7.png"] = bytes(64 << 20)
    data = packed({**members, "8.png": bytes(64 << 20)})
    data = altered(data, "1.png", 16, b"\1\2\3\4")  # CRC
    stream = data.index(b"2.png") + 5
    data = data[:stream] + b"\xff" * 20 + data[stream + 20 :]  # no deflate
    data = altered(data, "3.png", 8, b"\1\0")  # encrypted, in the directory
    data = altered(data, "3.png", 6, b"\1\0", central=False)  # and before the member
    data = altered(data, "4.png", 10, b"\x63\0")  # compressed as nobody knows
    data = altered(data, "5.png", 42, struct.pack("<I", 10_000_000))  # beyond the end
    data = altered(data, "6.png", 42, struct.pack("<I", data.index(b"5.png") - 30))  # another's
    return altered(data, "8.png", 24, struct.pack("<I", 100))  # 64 MiB that claim to be 100 bytes


DAMAGED = {
    "1.png": ("image_undecodable", "in its archive: Bad CRC-32 for file '1.png'"),
    "2.png": ("image_undecodable", "in its archive: Error -3 while decompressing data"),
    "3.png": ("image_undecodable", "in its archive: File <ZipInfo filename='3.png'"),
    "4.png": ("image_undecodable", "in its archive: That compression method is not supported"),
    "5.png": ("image_undecodable", "in its archive: Truncated file header"),
    "6.png": ("image_undecodable", "in its archive: File name in directory '6.png' and header"),
    "7.png": ("image_too_large", "more than 8388608 bytes"),
    "8.png": ("image_undecodable", "in its archive: Bad CRC-32 for file '8.png'"),
}


def test_harmful_images_and_damaged_members_fail_alone(
    harmful: dict[str, bytes], world: World
) -> None:
    lay_gallery(world, harmful, count=5)
    world.file("zipped", "p.zip", damaged_zip())
    files = [{"path": "p.zip", "by_hand": "put it there"}]
    folders = [{"path": "zipped", "file": "p.zip"}]
    world.manifest("images", "zipped", **PUBLISHED, files=files, folders=folders)
    members = [record(f"zip {n}.png", f"zipped/{n}.png") for n in range(9)]
    world.source("members", members, images=["zipped"])
    build = world.build({"photos": 99, "members": 99}, limits=LIMITS)
    digests(build)
    fates = outcomes(world.data.root)
    for name, (reason, problem) in DAMAGED.items():
        outcome, why, evidence = fates.pop(f"zip {name}")
        assert (outcome, why) == ("dropped", reason)
        assert evidence["problem"].startswith(problem)
    lost = {f"harm{n}.jpg": s for n, (_, s) in enumerate(HARMFUL.values()) if s != "ok"}
    assert {n: fates.pop(n)[:2] for n in lost} == {
        name: ("dropped", f"image_{status}") for name, status in lost.items()
    }
    assert list(fates.values()) == [("kept", None, {})] * (1 + 5 + len(HARMFUL) - len(lost))


def read_from_zip(reader: ImageReader, image: str) -> int:
    """Return the peak memory of reading in MiB."""
    (_, mib), *_ = looked_at([image], reader)
    return mib


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2])
def test_a_member_with_a_false_size_takes_no_more_memory(method: int, tmp_path: Path) -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive, archive.open("a.png", "w") as member:
        for _ in range(300):
            member.write(bytes(1 << 20))
    (tmp_path / "p.zip").write_bytes(altered(out.getvalue(), "a.png", 24, struct.pack("<I", 100)))
    reader = ImageReader(tmp_path / "none", tmp_path, (("", ImageFolder(path="z", file="p.zip")),))
    assert apart(read_from_zip, reader, "z/a.png") < MOST_MIB
