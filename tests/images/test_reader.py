"""An image is read from a folder, a zip or a tar."""

import io
import os
import shutil
import subprocess
import tarfile
import tracemalloc
import unicodedata
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imp_data.errors import UserError
from imp_data.images.reader import AmbiguousImage, DamagedMember, ImageReader, TooManyBytes
from imp_data.manifests import ImageCollection, ImageFolder, Mixture, Recipe
from imp_data.storage.atomic_write import move_into_place
from imp_data.storage.paths import parse_path

PUBLISHED = {"title": "Any", "homepage": "https://example.org", "license": "CC0-1.0"}
MANY = 1 << 20


@pytest.fixture(params=["this machine", "an object store"])
def root(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """An empty folder; that of a store lies in this process's memory."""
    if request.param == "this machine":
        return tmp_path
    return parse_path(f"memory://{tmp_path}")


def zipped(members: Mapping[str, bytes], how: int = zipfile.ZIP_STORED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", how) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return out.getvalue()


def tarred(members: Mapping[str, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:") as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return out.getvalue()


def reader(root: Path, files: Mapping[str, bytes], *folders: ImageFolder) -> ImageReader:
    """Files below `root`, which has `images` and, for collection `birds`, `raw/birds`."""
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    pairs = tuple(("birds", folder) for folder in folders)
    return ImageReader(root / "images", root / "raw", pairs)


def folder(path: str, file: str | None = None, inside: str = "") -> ImageFolder:
    return ImageFolder(path=path, file=file, inside=inside)


@pytest.mark.parametrize(
    ("place", "content", "home"),
    [
        ("raw/birds/a/owl.png", b"owl", folder("birds", inside="a")),
        ("raw/birds/owl.png", b"owl", folder("birds")),
        ("raw/birds/b.zip", zipped({"a/owl.png": b"owl"}), folder("birds", "b.zip", "a")),
        ("raw/birds/b.zip", zipped({"owl.png": b"owl"}, 8), folder("birds", "b.zip")),
        ("raw/birds/b.tar", tarred({"a/owl.png": b"owl"}), folder("birds", "b.tar", "a")),
        ("raw/birds/b.tar", tarred({"./owl.png": b"owl"}), folder("birds", "b.tar")),
    ],
)
def test_an_image_is_read_in_place(
    place: str, content: bytes, home: ImageFolder, root: Path
) -> None:
    birds = reader(root, {place: content}, home)
    assert birds.read("birds/owl.png", MANY) == b"owl"
    with pytest.raises(FileNotFoundError, match=r"birds/gone\.png"):
        birds.read("birds/gone.png", MANY)


def test_an_unpacked_image_has_priority_over_any_archive(root: Path) -> None:
    files = {"images/birds/owl.png": b"mine", "raw/birds/b.zip": zipped({"owl.png": b"theirs"})}
    birds = reader(root, files, folder("birds", "b.zip"))
    assert birds.read("birds/owl.png", MANY) == b"mine"


def test_a_path_outside_all_folders_is_missing(root: Path) -> None:
    birds = reader(root, {"raw/birds/owl.png": b"owl"}, folder("birds"))
    for stranger in ("birdsong/owl.png", "owl.png", "birds"):
        with pytest.raises(FileNotFoundError):
            birds.read(stranger, MANY)


def test_a_name_too_long_for_any_file_is_missing(root: Path) -> None:
    birds = reader(root, {"raw/birds/owl.png": b"owl"}, folder("birds"))
    for endless in ("birds/" + "o" * 300 + ".png", "o" * 300, "birds/" + "o/" * 3000 + ".png"):
        with pytest.raises(FileNotFoundError):
            birds.read(endless, MANY)


def test_a_path_that_is_no_file_is_no_image(tmp_path: Path) -> None:
    birds = reader(tmp_path, {"raw/birds/owl.png": b"owl"}, folder("birds"))
    home = tmp_path / "raw" / "birds"
    (home / "nest.png").mkdir()
    os.mkfifo(home / "pipe.png")  # nothing will ever come out of it
    (home / "loop.png").symlink_to(home / "loop.png")
    for name in ("nest.png", "pipe.png", "loop.png", "owl.png/feather.png", "nul\0.png"):
        with pytest.raises(FileNotFoundError):
            birds.read(f"birds/{name}", MANY)


def test_the_longest_path_is_tried_first_then_folders_of_one_path_in_their_order(
    root: Path,
) -> None:
    files = {
        "raw/birds/all/night/owl.png": b"from all",
        "raw/birds/night/owl.png": b"from night",
        "raw/birds/first/jay.png": b"first",
        "raw/birds/second/jay.png": b"second",
        "raw/birds/second/tit.png": b"only in second",
    }
    stated = ImageCollection(
        name="birds",
        folders=(
            folder("birds", inside="all"),
            folder("birds/day", inside="first"),
            folder("birds/night", inside="night"),
            folder("birds/day", inside="second"),
        ),
        **PUBLISHED,
    )
    part = {"source": "any", "quota": 1, "paper": 1, "group": "All"}
    mixture = Mixture(name="any", title="Any", seed=0, parts=(part,))
    recipe = Recipe(mixture=mixture, sources={}, images={"birds": stated}, benchmarks={})
    birds = reader(root, files)._replace(folders=recipe.folders(("birds",)))
    assert birds.read("birds/night/owl.png", MANY) == b"from night"
    assert birds.read("birds/day/jay.png", MANY) == b"first"
    assert birds.read("birds/day/tit.png", MANY) == b"only in second"


def test_an_absent_archive_is_skipped_for_the_next_folder(root: Path) -> None:
    homes = (folder("birds", "gone.zip"), folder("birds", "b.tar"))
    birds = reader(root, {"raw/birds/b.tar": tarred({"owl.png": b"owl"})}, *homes)
    assert birds.read("birds/owl.png", MANY) == b"owl"


@pytest.mark.parametrize(
    ("place", "content", "file"),
    [
        ("images/birds/owl.png", b"123456", None),
        ("raw/birds/owl.png", b"123456", None),
        ("raw/birds/b.zip", zipped({"owl.png": b"123456"}), "b.zip"),
        ("raw/birds/b.tar", tarred({"owl.png": b"123456"}), "b.tar"),
    ],
)
def test_an_image_of_more_bytes_than_the_limit_is_not_read(
    place: str, content: bytes, file: str | None, root: Path
) -> None:
    birds = reader(root, {place: content}, folder("birds", file))
    assert birds.read("birds/owl.png", 6) == b"123456"
    with pytest.raises(TooManyBytes):
        birds.read("birds/owl.png", 5)


def altered(content: bytes, place: int, byte: int) -> bytes:
    return content[:place] + bytes([byte]) + content[place + 1 :]


def test_a_member_that_does_not_unpack_is_damaged_and_its_neighbours_are_not(
    root: Path,
) -> None:
    content = zipped({"owl.png": b"owl" * 50, "jay.png": b"jay"})
    place = content.index(b"owlowl")
    birds = reader(root, {"raw/birds/b.zip": altered(content, place, 0)}, folder("birds", "b.zip"))
    with pytest.raises(DamagedMember, match="CRC"):
        birds.read("birds/owl.png", MANY)
    assert birds.read("birds/jay.png", MANY) == b"jay"


@pytest.mark.parametrize("how", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2])
def test_a_member_that_is_declared_empty_and_is_not_is_damaged(how: int, root: Path) -> None:
    content = zipped({"owl.png": b"owl"}, how)
    size = content.index(b"PK\1\2") + 24
    content = altered(content, size, 0)
    birds = reader(root, {"raw/birds/b.zip": content}, folder("birds", "b.zip"))
    with pytest.raises(DamagedMember, match="CRC"):
        birds.read("birds/owl.png", MANY)


@pytest.mark.parametrize(
    ("offset", "value"),
    [(8, 1), (10, 9), (10, 99)],
    ids=["under a password", "deflate64", "a method nobody knows"],
)
def test_a_member_with_an_unsupported_method_is_damaged(
    offset: int, value: int, root: Path
) -> None:
    content = zipped({"owl.png": b"owl"})
    directory = content.index(b"PK\1\2")
    content = altered(content, directory + offset, value)
    content = altered(content, offset - 2, value)  # the same field before the member itself
    birds = reader(root, {"raw/birds/b.zip": content}, folder("birds", "b.zip"))
    with pytest.raises(DamagedMember):
        birds.read("birds/owl.png", MANY)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("b.zip", zipped({"owl.png": b"owl"})[:-10]),
        ("b.zip", b"<html>Not found</html>"),
        ("b.zip", b""),
        ("b.tar", b"<html>Not found</html>" * 100),
        ("b.tar", b""),
        ("b.tar", altered(tarred({"jay.png": b"jay", "owl.png": b"owl"}), 1024, 0xFF)),
    ],
    ids=["cut zip", "no zip", "empty zip", "no tar", "empty tar", "tar with a damaged header"],
)
def test_an_invalid_archive_is_an_error_that_names_it(
    name: str, content: bytes, root: Path
) -> None:
    birds = reader(root, {f"raw/birds/{name}": content}, folder("birds", name))
    with pytest.raises(UserError, match="materialize its raw asset again") as error:
        birds.read("birds/owl.png", MANY)
    assert error.value.where == str(root / "raw" / "birds" / name)


def test_an_archive_that_was_replaced_is_opened_again(root: Path, tmp_path: Path) -> None:
    birds = reader(root, {"raw/birds/b.zip": zipped({"owl.png": b"old"})})
    birds = birds._replace(folders=(("birds", folder("birds", "b.zip")),))
    assert birds.read("birds/owl.png", MANY) == b"old"
    replacement = tmp_path / "replacement"
    replacement.write_bytes(zipped({"owl.png": b"newer"}))
    move_into_place(replacement, root / "raw" / "birds" / "b.zip")
    assert birds.read("birds/owl.png", MANY) == b"newer"


TWO_BIRDS = {"owl.png": b"owl" * 20, "jay.png": b"jay"}
ARCHIVES = {"b.zip": zipped(TWO_BIRDS, zipfile.ZIP_DEFLATED), "b.tar": tarred(TWO_BIRDS)}


@pytest.mark.parametrize("there", ["", "memory://"], ids=["this machine", "an object store"])
@pytest.mark.parametrize("name", ARCHIVES)
@given(st.data())
def test_a_change_of_any_byte_of_an_archive_ends_in_a_known_error_or_the_image(
    name: str, there: str, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    content = ARCHIVES[name]
    spot = data.draw(st.integers(0, len(content.rstrip(b"\0")) - 1))
    changed = altered(content, spot, data.draw(st.integers(0, 255)))
    root = parse_path(f"{there}{tmp_path_factory.mktemp('altered')}")
    birds = reader(root, {f"raw/birds/{name}": changed}, folder("birds", name))
    try:
        found = birds.read("birds/owl.png", MANY)
        assert found == TWO_BIRDS["owl.png"] or name == "b.tar"  # a tar has no checksum of data
    except UserError as error:
        assert error.where == str(root / "raw" / "birds" / name)
    except (FileNotFoundError, DamagedMember, TooManyBytes):
        assert changed != content


# Beyond what 32 bits can say, in a zip; and, from 8 GiB on, the octal digits of a tar's header.
FAR = 9 << 30


def far_zip(path: Path) -> None:
    """Owl near the beginning, jay beyond; the hole between them takes no space on disk."""
    with path.open("wb") as file, zipfile.ZipFile(file, "w") as archive:
        archive.writestr("owl.png", b"owl")
        archive.start_dir = FAR
        archive.writestr("jay.png", b"jay")


def far_tar(path: Path) -> None:
    """The same, around a member that is a hole."""
    with path.open("wb") as file:
        file.write(tarred({"owl.png": b"owl"})[:1024])
        hole = tarfile.TarInfo("hole.bin")
        hole.size = FAR
        file.write(hole.tobuf(tarfile.GNU_FORMAT))
        file.seek(FAR, io.SEEK_CUR)
        file.write(tarred({"jay.png": b"jay"}))


@pytest.mark.parametrize(("name", "lay"), [("b.zip", far_zip), ("b.tar", far_tar)])
def test_images_beyond_four_gigabytes_are_read_in_place_in_little_memory(
    name: str, lay: Callable[[Path], None], tmp_path: Path
) -> None:
    birds = reader(tmp_path, {f"raw/birds/{name}": b""}, folder("birds", name))
    path = tmp_path / "raw" / "birds" / name
    lay(path)
    assert path.stat().st_size > FAR
    if path.stat().st_blocks * 512 > MANY:
        pytest.skip("this file system keeps no holes")
    tracemalloc.start()
    try:
        assert birds.read("birds/owl.png", MANY) == b"owl"
        assert birds.read("birds/jay.png", MANY) == b"jay"
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak_bytes < MANY
    with pytest.raises(FileNotFoundError):
        birds.read("birds/tit.png", MANY)


def zipped_quickly(count: int) -> bytes:
    """Empty members `<n>.png`; zipfile writes the directory alone."""
    members = [zipfile.ZipInfo(f"{n}.png") for n in range(count)]
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for member in members:
            member.header_offset, member.CRC, member.compress_size = out.tell(), 0, 0
            out.write(member.FileHeader())
        archive.filelist, archive.start_dir, archive._didModify = members, out.tell(), True
    return out.getvalue()


def test_every_member_of_a_zip_with_more_than_65535_is_read(tmp_path: Path) -> None:
    count = 65_600
    content = zipped_quickly(count)
    assert b"PK\6\6" in content  # the zip64 end of the directory
    birds = reader(tmp_path, {"raw/birds/b.zip": content}, folder("birds", "b.zip"))
    for n in (0, 65_534, 65_535, 65_536, count - 1):
        assert birds.read(f"birds/{n}.png", MANY) == b""
    with pytest.raises(FileNotFoundError):
        birds.read(f"birds/{count}.png", MANY)


def as_named(names: Mapping[bytes, bytes], kind: str) -> bytes:
    """A tar, or a zip without a declared encoding: members by the bytes of their names."""
    out = io.BytesIO()
    if kind == "tar":
        with tarfile.open(fileobj=out, mode="w:", format=tarfile.GNU_FORMAT) as tar:
            for name, content in names.items():
                info = tarfile.TarInfo(os.fsdecode(name))
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
        return out.getvalue()
    # zipfile sets the flag of UTF-8 where a name needs it: names of as many bytes are put in place.
    plain = {b"%0*d" % (len(name), n): name for n, name in enumerate(names)}
    data = zipped({stem.decode(): names[name] for stem, name in plain.items()})
    for stem, name in plain.items():
        data = data.replace(stem, name)
    return data


NAMES = [
    ("café.jpg", "café.jpg".encode()),
    ("café.jpg", unicodedata.normalize("NFD", "café.jpg").encode()),
    (unicodedata.normalize("NFD", "café.jpg"), "café.jpg".encode()),
    ("café.jpg", "café.jpg".encode("cp437")),
    ("café.jpg", "café.jpg".encode("latin-1")),
    ("老虎.jpg", "老虎.jpg".encode("gbk")),
    ("老虎.jpg", "老虎.jpg".encode("gbk").decode("cp437").encode()),
    ("café.jpg", "café.jpg".encode().decode("cp437").encode()),
    ("cafÃ©.jpg", "café.jpg".encode()),
    ("caf%C3%A9.jpg", "café.jpg".encode()),
    ("caf%E9.jpg", "café.jpg".encode("latin-1")),
    ("CAFÉ.JPG", "café.jpg".encode("cp437")),
    ("café.png", "café.jpg".encode("latin-1")),
    ("a%20b.jpg", b"a b.jpg"),
    ("a b.jpg", b"a%20b.jpg"),
    ("owl.jpg", b"OWL.JPG"),
    ("owl.jpg", b"owl.gif"),
    ("owl.jpg", b"owl.jpg "),
    ("b/owl.jpg", b"B/Owl.jpeg"),
]


@pytest.mark.parametrize(("asked", "name"), NAMES)
@pytest.mark.parametrize("kind", ["folder", "zip", "tar"])
def test_an_image_is_found_by_another_spelling_if_it_is_the_only_match(
    kind: str, asked: str, name: bytes, tmp_path: Path
) -> None:
    others = {b"other.jpg": b"1", b"b/cafe.jpg": b"2", "éa.jpg".encode(): b"3"}
    if kind == "folder":
        birds = reader(tmp_path, {}, folder("birds"))
        for path, content in {name: b"owl", **others}.items():
            whole = os.fsencode(tmp_path) + b"/raw/birds/" + path
            os.makedirs(os.path.dirname(whole), exist_ok=True)
            with open(whole, "wb") as file:
                file.write(content)
    else:
        archive = as_named({name: b"owl", **others}, kind)
        birds = reader(tmp_path, {f"raw/birds/b.{kind}": archive}, folder("birds", f"b.{kind}"))
    found, found_as = birds.read_with_spelling(f"birds/{asked}", MANY)
    assert found == birds.read(f"birds/{asked}", MANY) == b"owl"
    assert found_as != f"birds/{asked}"
    if found_as is not None:
        # The spelling that is noted leads to the image, is UTF-8, and needs no second note.
        assert (
            birds.read_with_spelling(found_as.encode().decode(), MANY) == (b"owl", None)
            or "%" in found_as
        )
    for gone in (
        "birds/tit.jpg",
        "birds/Θa.jpg",
        "birds/caf.jpg",
        "birds/b/owl2.jpg",
        "bird/owl.jpg",
    ):
        with pytest.raises(FileNotFoundError):
            birds.read(gone, MANY)


LAYS = [
    ({"raw/birds/b.zip": zipped({"Owl.jpg": b"A", "owl.gif": b"B", "x.jpg": b"C"})}, "b.zip"),
    ({"raw/birds/b.tar": tarred({"Owl.jpg": b"A", "owl.gif": b"B", "x.jpg": b"C"})}, "b.tar"),
    ({f"raw/birds/{n}": d for n, d in (("Owl.jpg", b"A"), ("owl.gif", b"B"))}, None),
]


@pytest.mark.parametrize(("files", "file"), LAYS)
def test_the_nearest_spelling_matches_and_several_equally_near_are_ambiguous(
    files: dict[str, bytes], file: str | None, root: Path
) -> None:
    birds = reader(root, files, folder("birds", file))
    assert birds.read_with_spelling("birds/owl.gif", MANY) == (b"B", None)
    assert birds.read_with_spelling("birds/OWL.GIF", MANY) == (b"B", "birds/owl.gif")
    assert birds.read_with_spelling("Birds/OWL.jpg", MANY) == (b"A", "birds/Owl.jpg")
    with pytest.raises(AmbiguousImage) as error:
        birds.read_with_spelling("birds/owl.png", MANY)
    assert error.value.candidates == ["birds/Owl.jpg", "birds/owl.gif"]


def test_an_image_that_is_added_later_is_found_by_the_next_read(tmp_path: Path) -> None:
    birds = reader(tmp_path, {"raw/birds/a.jpg": b"a"}, folder("birds"))
    with pytest.raises(FileNotFoundError):
        birds.read("birds/owl.jpg", MANY)
    (tmp_path / "raw/birds/OWL.jpg").write_bytes(b"owl")
    assert birds.read("birds/owl.jpg", MANY) == b"owl"


def test_a_sidecar_never_matches(tmp_path: Path) -> None:
    files = {"raw/birds/._owl.JPG": b"side", "raw/birds/__MACOSX/owl.jpg": b"side"}
    birds = reader(tmp_path, files, folder("birds"))
    for name in ("birds/._owl.jpg", "birds/__macosx/owl.jpg"):
        with pytest.raises(FileNotFoundError):
            birds.read(name, MANY)


ODD_NAMES = [
    "/a/owl.png",
    "./a/owl.png",
    "a//owl.png",
    "a\\owl.png",
    ".\\a\\owl.png",
    "a/./owl.png",
]


@pytest.mark.parametrize("pack", [zipped, tarred])
@pytest.mark.parametrize("name", ODD_NAMES)
def test_a_members_name_in_another_form_matches_exactly(
    name: str, pack: Callable[[Mapping[str, bytes]], bytes], root: Path
) -> None:
    file = f"b.{'zip' if pack is zipped else 'tar'}"
    birds = reader(root, {f"raw/birds/{file}": pack({name: b"owl"})}, folder("birds", file, "a"))
    assert birds.read_with_spelling("birds/owl.png", MANY) == (b"owl", None)


def linked(kind: str) -> bytes:
    """real/owl.png, links to it and its folder, and links that lead out, in a loop or nowhere."""
    soft = {"real/same.png": "owl.png", "far/owl.png": "../real/./owl.png", "dir": "real"}
    soft |= {"out": "../../etc", "abs.png": "/etc/hostname", "round": "round", "far/gone.png": "no"}
    out = io.BytesIO()
    if kind == "zip":
        with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("real/owl.png", b"owl")
            for name, target in soft.items():
                link = zipfile.ZipInfo(name)
                link.external_attr = 0o120777 << 16
                archive.writestr(link, target)
        return out.getvalue()
    with tarfile.open(fileobj=out, mode="w:") as tar:
        info = tarfile.TarInfo("./real/owl.png")
        info.size = 3
        tar.addfile(info, io.BytesIO(b"owl"))
        hard = tarfile.TarInfo("hard.png")
        hard.type, hard.linkname = tarfile.LNKTYPE, "./real/owl.png"
        tar.addfile(hard)
        for name, target in soft.items():
            info = tarfile.TarInfo(name)
            info.type, info.linkname = tarfile.SYMTYPE, target
            tar.addfile(info)
    return out.getvalue()


@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_links_in_an_archive_return_their_targets(kind: str, root: Path) -> None:
    birds = reader(root, {f"raw/birds/b.{kind}": linked(kind)}, folder("birds", f"b.{kind}"))
    names = ["real/owl.png", "real/same.png", "far/owl.png", "dir/owl.png", "dir/same.png"]
    for name in names + ["hard.png"] * (kind == "tar"):
        assert birds.read_with_spelling(f"birds/{name}", MANY) == (b"owl", None)
    for name in ("out/hostname", "abs.png", "round", "round/owl.png", "far/gone.png", "dir"):
        with pytest.raises(FileNotFoundError):
            birds.read(f"birds/{name}", MANY)


# A file of 3 MiB with bytes at three places, and zeros between them.
HOLES = {0: b"first", (1 << 20) + 7: b"second", (3 << 20) - 4: b"last"}


@pytest.mark.parametrize("form", ["gnu", "posix 0.0", "posix 0.1", "posix 1.0"])
@pytest.mark.skipif(shutil.which("tar") is None, reason="no tar program here")
def test_sparse_members_are_read_with_their_holes(form: str, tmp_path: Path) -> None:
    whole = bytearray(3 << 20)
    for at, some in HOLES.items():
        whole[at : at + len(some)] = some
    with (tmp_path / "owl.png").open("wb") as file:
        for at, some in HOLES.items():
            file.seek(at)
            file.write(some)
    (tmp_path / "jay.png").write_bytes(b"jay")
    how, _, version = form.partition(" ")
    options = [f"--format={how}", "--sparse", *([f"--sparse-version={version}"] * bool(version))]
    target = tmp_path / "raw" / "birds" / "b.tar"
    birds = reader(tmp_path, {"raw/birds/b.tar": b""}, folder("birds", "b.tar"))
    subprocess.run(
        ["tar", *options, "-C", tmp_path, "-cf", target, "owl.png", "jay.png"], check=True
    )
    assert target.stat().st_size < 1 << 20
    assert birds.read("birds/owl.png", 4 << 20) == bytes(whole)
    assert birds.read("birds/jay.png", 4 << 20) == b"jay"
    with pytest.raises(TooManyBytes):
        birds.read("birds/owl.png", MANY)


def test_a_zip_is_detected_by_its_bytes_whatever_its_name(tmp_path: Path) -> None:
    files = {
        "raw/birds/b": zipped({"owl.png": b"owl"}),
        "raw/birds/b.zip": tarred({"jay.png": b"jay"}),
    }
    birds = reader(tmp_path, files, folder("birds", "b"), folder("birds", "b.zip"))
    assert (birds.read("birds/owl.png", MANY), birds.read("birds/jay.png", MANY)) == (
        b"owl",
        b"jay",
    )


@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_the_last_of_several_members_of_one_name_counts(kind: str, root: Path) -> None:
    names = {"owl.png": b"first", "./owl.png": b"second", ".//owl.png": b"last"}
    content = zipped(names) if kind == "zip" else tarred(names)
    birds = reader(root, {f"raw/birds/b.{kind}": content}, folder("birds", f"b.{kind}"))
    assert birds.read("birds/owl.png", MANY) == b"last"


def sparse(spans: list[tuple[int, int]], size: int) -> bytes:
    """A tar with a sparse member of nine stored bytes, `owl.png`, and a whole one, `jay.png`."""
    member = tarfile.TarInfo("owl.png")
    member.size, member.type = 9, tarfile.GNUTYPE_SPARSE
    header = bytearray(member.tobuf(tarfile.GNU_FORMAT))
    for number, value in enumerate(n for span in spans for n in span):
        place = 386 + 12 * number
        header[place : place + 12] = tarfile.itn(value, 12, tarfile.GNU_FORMAT)
    header[483:495] = tarfile.itn(size, 12, tarfile.GNU_FORMAT)
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    return bytes(header) + b"owlowlowl".ljust(512, b"\0") + tarred({"jay.png": b"jay"})


@pytest.mark.parametrize(
    "spans",
    [[(-5, 9)], [(0, -9)], [(0, 5), (4, 4)], [(15, 9)], [(0, 900)], [(2**62, 9)]],
    ids=["below zero", "fewer than none", "twice", "beyond", "more than stored", "far beyond"],
)
def test_a_sparse_member_whose_map_contradicts_itself_is_damaged_and_no_other(
    spans: list[tuple[int, int]], root: Path
) -> None:
    files = {"raw/birds/b.tar": sparse(spans, 20), "raw/birds/c.tar": sparse([(3, 9)], 20)}
    birds = reader(root, files, folder("birds", "b.tar"), folder("c", "c.tar"))
    with pytest.raises(DamagedMember, match="its map of stored bytes contradicts itself"):
        birds.read("birds/owl.png", MANY)
    assert birds.read("birds/jay.png", MANY) == b"jay"
    assert birds.read("c/owl.png", MANY) == bytes(3) + b"owlowlowl" + bytes(8)


@pytest.mark.parametrize("size", [-1, -512, -(1 << 40), 1 << 62, 1 << 80])
def test_a_tar_whose_sizes_overflow_or_lead_backward_is_an_error_that_names_it(
    size: int, root: Path
) -> None:
    content = bytearray(tarred({"jay.png": b"jay", "owl.png": b"owl"}))
    content[1024 + 124 : 1024 + 136] = tarfile.itn(size, 12, tarfile.GNU_FORMAT)
    content[1024 + 148 : 1024 + 156] = b" " * 8
    content[1024 + 148 : 1024 + 156] = b"%06o\0 " % sum(content[1024:1536])
    birds = reader(root, {"raw/birds/b.tar": bytes(content)}, folder("birds", "b.tar"))
    with pytest.raises(UserError, match="is not a whole plain tar"):
        birds.read("birds/jay.png", MANY)


@pytest.mark.parametrize("how", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
@given(st.binary(max_size=500), st.integers(1, 300_000))
def test_members_by_bzip2_and_lzma_are_what_was_packed(
    how: int, tmp_path_factory: pytest.TempPathFactory, piece: bytes, times: int
) -> None:
    data = piece * (times // (len(piece) + 1))
    root = tmp_path_factory.mktemp("packed")
    birds = reader(
        root, {"raw/birds/b.zip": zipped({"owl.png": data}, how)}, folder("birds", "b.zip")
    )
    assert birds.read("birds/owl.png", MANY) == data
