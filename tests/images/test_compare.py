"""Any images on disk are fingerprinted, and those of two files matched."""

import gzip
import io
import os
import tarfile
import zipfile
from pathlib import Path

import pytest
from conftest import encoded, photo
from PIL import Image

from imp_data.errors import UserError
from imp_data.images.compare import ImageMatch, fingerprint_paths, match_images
from imp_data.images.fingerprint import Fingerprint
from imp_data.images.fingerprint_cache import write_fingerprints

MEMBERS = {"a/1.png": encoded(photo(1)), "2.JPG": encoded(photo(2), "JPEG"), "notes.txt": b"no"}


def laid(root: Path, kind: str) -> Path:
    """The members in a folder, a zip or a tar called `birds`."""
    if kind == "folder":
        for name, content in MEMBERS.items():
            path = root / "birds" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        return root / "birds"
    path = root / f"birds.{kind}"
    if kind == "zip":
        with zipfile.ZipFile(path, "w") as whole:
            for name, content in MEMBERS.items():
                whole.writestr(name, content)
    else:
        with tarfile.open(path, "w:") as whole_tar:
            for name, content in MEMBERS.items():
                info = tarfile.TarInfo(f"./{name}")
                info.size = len(content)
                whole_tar.addfile(info, io.BytesIO(content))
    return path


@pytest.mark.parametrize("kind", ["folder", "zip", "tar"])
def test_every_image_is_fingerprinted_in_place(kind: str, tmp_path: Path, one_worker: None) -> None:
    path = laid(tmp_path, kind)
    rows, unread = fingerprint_paths([path], tmp_path / "f.parquet")
    assert unread == {}
    names = [f"{path.name}/{name}" for name in ("2.JPG", "a/1.png")]
    assert [(row.image, row.status) for row in rows] == [(name, "ok") for name in names]
    found = match_images(tmp_path / "f.parquet", tmp_path / "f.parquet", 0)
    assert found == [ImageMatch(name, name, 0) for name in names]


def packed(members: dict[str, bytes], kind: str = "zip") -> bytes:
    out = io.BytesIO()
    if kind == "zip":
        with zipfile.ZipFile(out, "w") as whole:
            for name, content in members.items():
                whole.writestr(name, content)
        return out.getvalue()
    with tarfile.open(fileobj=out, mode="w:" if kind == "tar" else "w:gz") as whole_tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            whole_tar.addfile(info, io.BytesIO(content))
    return out.getvalue()


def files(folder: Path, contents: dict[str, bytes]) -> Path:
    for name, content in contents.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


ONE, TWO, THREE = (encoded(photo(n)) for n in (1, 2, 3))


def test_archives_in_a_folder_are_read_whatever_their_names(
    tmp_path: Path, one_worker: None
) -> None:
    contents = {
        "a/b.zip": packed({"x/1.png": ONE, "notes.txt": b"no", "._1.png": b"side"}),
        "shard-0": packed({"./2.png": TWO}, "tar"),
        "blob": packed({"no ending": THREE, "notes.json": b"{}"}),
        "3.png": THREE,
    }
    found = fingerprint_paths([files(tmp_path / "all", contents)], tmp_path / "f.parquet")
    assert [(row.image, row.status) for row in found.rows] == [
        ("all/3.png", "ok"),
        ("all/a/b.zip/x/1.png", "ok"),
        ("all/blob/no ending", "ok"),
        ("all/shard-0/2.png", "ok"),
    ]
    assert found.unread == {}


def test_images_are_detected_by_content_and_sidecars_are_skipped(
    tmp_path: Path, one_worker: None
) -> None:
    contents = {
        "0f3a9c": ONE,
        "photo.bin": encoded(photo(2), "JPEG"),
        "icon.data": encoded(photo(3).resize((32, 32)), "ICO"),
        "old.dat": encoded(photo(4), "PPM"),
        "cut.jpg": b"no image, but meant as one",
        "notes.txt": b"Notes on what is in here, of more than sixteen bytes.",
        "records.json": b'[{"id": 1}]',
        "._1.png": ONE,
        "__MACOSX/1.png": ONE,
    }
    rows = fingerprint_paths([files(tmp_path / "all", contents)], tmp_path / "f.parquet").rows
    assert {row.image: row.status for row in rows} == {
        "all/0f3a9c": "ok",
        "all/photo.bin": "ok",
        "all/icon.data": "ok",
        "all/old.dat": "ok",
        "all/cut.jpg": "undecodable",
    }


def test_names_that_are_not_utf8_are_escaped_and_stay_distinct(
    tmp_path: Path, one_worker: None
) -> None:
    home = tmp_path / "all"
    home.mkdir()
    for name, content in ((b"caf\xe9.png", ONE), (b"caf\xe8.png", TWO)):
        with open(os.fsencode(home) + b"/" + name, "wb") as file:
            file.write(content)
    (home / "b.tar").write_bytes(packed({"\udce9/1.png": THREE}, "tar"))
    out = tmp_path / "f.parquet"
    rows = fingerprint_paths([home], out).rows
    assert [row.status for row in rows] == ["ok"] * 3
    found = match_images(out, out, 0)
    names = ["all/b.tar/%E9/1.png", "all/caf%E8.png", "all/caf%E9.png"]
    assert found == [ImageMatch(name, name, 0) for name in names]


def test_links_are_followed(tmp_path: Path, one_worker: None) -> None:
    files(tmp_path / "elsewhere", {"1.png": ONE})
    home = files(tmp_path / "all", {"2.png": TWO})
    (home / "more").symlink_to(tmp_path / "elsewhere")
    (home / "round").symlink_to(".")
    rows = fingerprint_paths([home], tmp_path / "f.parquet").rows
    assert [row.image for row in rows] == ["all/2.png", "all/more/1.png"]


def test_equal_names_in_two_folders_stay_distinct(tmp_path: Path, one_worker: None) -> None:
    homes = [files(tmp_path / n / "photos", {"1.png": d}) for n, d in (("a", ONE), ("b", TWO))]
    zips = [tmp_path / "a" / "b.zip", tmp_path / "b" / "b.zip"]
    for path, content in zip(zips, (ONE, TWO), strict=True):
        path.write_bytes(packed({"1.png": content}))
    again = homes[0] / ".." / "photos"
    rows = fingerprint_paths([*homes, *zips, again], tmp_path / "f.parquet").rows
    assert [row.image for row in rows] == [
        *("a/photos/1.png", "b/photos/1.png"),
        *("a/b.zip/1.png", "b/b.zip/1.png"),
    ]


def test_unreadable_files_are_named_and_the_rest_is_fingerprinted(
    tmp_path: Path, one_worker: None
) -> None:
    contents = {
        "1.png": ONE,
        "b.tar.gz": packed({"2.png": TWO}, "gz"),
        "notes.json.gz": gzip.compress(b"{}"),
        "cut.zip": packed({"2.png": TWO})[:-30],
        "outer.zip": packed({"inner.zip": packed({"2.png": TWO})}),
    }
    home = files(tmp_path / "all", contents)
    rows, unread = fingerprint_paths([home], tmp_path / "f.parquet")
    assert [(row.image, row.status) for row in rows] == [("all/1.png", "ok")]
    assert [where.removeprefix(f"{home}/") for where in unread] == [
        *("b.tar.gz", "cut.zip", "outer.zip, member inner.zip"),
    ]
    assert unread[str(home / "b.tar.gz")] == "is a gzip file: unpack it, or make a zip of it"


@pytest.mark.parametrize(
    "contents",
    [{"a/notes.txt": b"no"}, {"b.zip": packed({"notes.txt": b"no"})}, {"b.tgz": packed({}, "gz")}],
)
def test_a_folder_without_images_is_an_error(contents: dict[str, bytes], tmp_path: Path) -> None:
    home = files(tmp_path / "all", contents)
    files(tmp_path / "good", {"1.png": ONE})
    with pytest.raises(UserError, match="holds no image") as error:
        fingerprint_paths([tmp_path / "good", home], tmp_path / "f.parquet")
    assert error.value.where == str(home)
    assert not (tmp_path / "f.parquet").exists()


def test_matching_against_an_empty_file_is_an_error(tmp_path: Path, one_worker: None) -> None:
    fingerprint_paths([files(tmp_path / "good", {"1.png": ONE})], tmp_path / "good.parquet")
    write_fingerprints(tmp_path / "none.parquet", [])
    write_fingerprints(tmp_path / "broken.parquet", [Fingerprint("a.jpg", "undecodable")])
    for name in ("none.parquet", "broken.parquet"):
        both = [tmp_path / "good.parquet", tmp_path / name]
        for asked, others in (both, both[::-1]):
            with pytest.raises(UserError, match="holds no image to compare") as error:
                match_images(asked, others, 10)
            assert error.value.where == str(tmp_path / name)


def test_pairs_are_sorted_by_distance_and_within_the_maximum(
    tmp_path: Path, one_worker: None
) -> None:
    for folder, images in {
        "ours": {"same.png": encoded(photo(1)), "soft.jpg": encoded(photo(2), "JPEG", quality=5)},
        "theirs": {"1.png": encoded(photo(1)), "2.png": encoded(photo(2))},
    }.items():
        (tmp_path / folder).mkdir()
        for name, content in images.items():
            (tmp_path / folder / name).write_bytes(content)
        fingerprint_paths([tmp_path / folder], tmp_path / f"{folder}.parquet")
    files = (tmp_path / "ours.parquet", tmp_path / "theirs.parquet")
    same, soft = match_images(*files, 10)
    assert same == ImageMatch("ours/same.png", "theirs/1.png", 0)
    assert soft[:2] == ("ours/soft.jpg", "theirs/2.png")
    assert 0 < soft.distance_bits <= 10
    assert match_images(*files, soft.distance_bits - 1) == [same]


def test_an_image_saved_upright_matches_the_one_with_an_exif_orientation(
    tmp_path: Path, one_worker: None
) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    upright = photo(1).transpose(Image.Transpose.ROTATE_270)
    images = {"turned": encoded(photo(1), exif=exif), "upright": encoded(upright)}
    for name, content in images.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "1.png").write_bytes(content)
        fingerprint_paths([tmp_path / name], tmp_path / f"{name}.parquet")
    turned_file, upright_file = (tmp_path / f"{name}.parquet" for name in images)
    assert match_images(turned_file, upright_file, 0) == [
        ImageMatch("turned/1.png", "upright/1.png", 0)
    ]
    assert match_images(upright_file, turned_file, 0) == [
        ImageMatch("upright/1.png", "turned/1.png", 0)
    ]


@pytest.mark.parametrize("name", ["gone", "text.txt", "broken.zip", "broken.tar"])
def test_a_path_without_images_is_an_error_that_names_it(name: str, tmp_path: Path) -> None:
    if name != "gone":
        (tmp_path / name).write_bytes(b"neither zip nor tar" * 40)
    with pytest.raises(UserError) as error:
        fingerprint_paths([tmp_path / name], tmp_path / "f.parquet")
    assert error.value.where == str(tmp_path / name)
    assert not (tmp_path / "f.parquet").exists()


def test_a_flat_image_matches_its_own_bytes_and_no_other_flat_one(
    tmp_path: Path, one_worker: None
) -> None:
    white, grey = (encoded(Image.new("L", (60, 40), level)) for level in (255, 128))
    laid_out = {"ours": {"a.png": white}, "theirs": {"b.png": grey, "c.png": white}}
    for folder, images in laid_out.items():
        (tmp_path / folder).mkdir()
        for name, content in images.items():
            (tmp_path / folder / name).write_bytes(content)
        fingerprint_paths([tmp_path / folder], tmp_path / f"{folder}.parquet")
    found = match_images(tmp_path / "ours.parquet", tmp_path / "theirs.parquet", 10)
    assert found == [ImageMatch("ours/a.png", "theirs/c.png", 0)]
