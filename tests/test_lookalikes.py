"""Any pictures on disk are fingerprinted, and those of two files matched."""

import io
import tarfile
import zipfile
from pathlib import Path

import pytest
from conftest import encoded, photo
from PIL import Image

from imp_data.errors import UserError
from imp_data.lookalikes import Pair, fingerprint_paths, pairs

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
def test_every_picture_is_fingerprinted_where_it_lies(
    kind: str, tmp_path: Path, one_worker: None
) -> None:
    path = laid(tmp_path, kind)
    rows = fingerprint_paths([path], tmp_path / "f.parquet")
    names = [f"{path.name}/{name}" for name in ("2.JPG", "a/1.png")]
    assert [(row.image, row.status) for row in rows] == [(name, "ok") for name in names]
    found = pairs(tmp_path / "f.parquet", tmp_path / "f.parquet", 0)
    assert found == [Pair(name, name, 0) for name in names]


def test_pairs_come_nearest_first_and_no_further_than_asked(
    tmp_path: Path, one_worker: None
) -> None:
    for folder, pictures in {
        "ours": {"same.png": encoded(photo(1)), "soft.jpg": encoded(photo(2), "JPEG", quality=5)},
        "theirs": {"1.png": encoded(photo(1)), "2.png": encoded(photo(2))},
    }.items():
        (tmp_path / folder).mkdir()
        for name, content in pictures.items():
            (tmp_path / folder / name).write_bytes(content)
        fingerprint_paths([tmp_path / folder], tmp_path / f"{folder}.parquet")
    files = (tmp_path / "ours.parquet", tmp_path / "theirs.parquet")
    same, soft = pairs(*files, 10)
    assert same == Pair("ours/same.png", "theirs/1.png", 0)
    assert soft[:2] == ("ours/soft.jpg", "theirs/2.png")
    assert 0 < soft.distance_bits <= 10
    assert pairs(*files, soft.distance_bits - 1) == [same]


def test_a_picture_saved_upright_looks_like_the_one_that_says_how_to_turn_it(
    tmp_path: Path, one_worker: None
) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    upright = photo(1).transpose(Image.Transpose.ROTATE_270)
    pictures = {"turned": encoded(photo(1), exif=exif), "upright": encoded(upright)}
    for name, content in pictures.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "1.png").write_bytes(content)
        fingerprint_paths([tmp_path / name], tmp_path / f"{name}.parquet")
    turned_file, upright_file = (tmp_path / f"{name}.parquet" for name in pictures)
    assert pairs(turned_file, upright_file, 0) == [Pair("turned/1.png", "upright/1.png", 0)]
    assert pairs(upright_file, turned_file, 0) == [Pair("upright/1.png", "turned/1.png", 0)]


@pytest.mark.parametrize("name", ["gone", "text.txt", "broken.zip", "broken.tar"])
def test_what_holds_no_pictures_is_an_error_that_names_it(name: str, tmp_path: Path) -> None:
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
    found = pairs(tmp_path / "ours.parquet", tmp_path / "theirs.parquet", 10)
    assert found == [Pair("ours/a.png", "theirs/c.png", 0)]
