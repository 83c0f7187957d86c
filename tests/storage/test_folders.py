"""Files below a folder are listed through links and without a desktop's sidecars."""

import io
import os
import tarfile
import zipfile
from pathlib import Path

import pytest
from conftest import encoded, photo
from hypothesis import given
from hypothesis import strategies as st

from imp_data.images.reader import ImageReader
from imp_data.raw.extract import extract
from imp_data.storage.digests import file_sizes, listing_digest, tree_digest
from imp_data.storage.folders import is_sidecar, list_files
from imp_data.training.data.mixture_input import MixtureInput, open_images
from imp_data.training.data.parquet_images import ParquetImages, parquet_files


def names(folder: Path) -> list[str]:
    return [name for name, _ in list_files(folder)]


def laid(folder: Path, *files: str) -> Path:
    for name in files:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(name.encode())
    return folder


def test_links_to_folders_and_files_are_followed(tmp_path: Path) -> None:
    laid(tmp_path / "elsewhere", "a/1.jpg", "2.jpg")
    home = laid(tmp_path / "home", "0.jpg")
    (home / "more").symlink_to(tmp_path / "elsewhere")
    (home / "one.jpg").symlink_to("../elsewhere/2.jpg")
    assert names(home) == ["0.jpg", "more/2.jpg", "more/a/1.jpg", "one.jpg"]
    assert file_sizes(home) == {n: s.st_size for n, s in list_files(home)}


def test_cyclic_and_broken_links_are_no_files(tmp_path: Path) -> None:
    home = laid(tmp_path / "home", "a/1.jpg")
    (home / "a" / "up").symlink_to("..")
    (home / "a" / "self").symlink_to("self")
    (home / "gone").symlink_to("nowhere")
    (home / "twice").symlink_to("a")
    assert names(home) == ["a/1.jpg", "twice/1.jpg"]


def test_an_unreadable_folder_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = laid(tmp_path / "home", "a/1.jpg", "2.jpg")
    scandir = os.scandir

    def refuse(folder: str) -> object:
        if folder.endswith("/a"):
            raise PermissionError(13, "Permission denied", folder)
        return scandir(folder)

    monkeypatch.setattr(os, "scandir", refuse)
    told: list[OSError] = []
    assert [name for name, _ in list_files(home, told.append)] == ["2.jpg"]
    assert [error.filename for error in told] == [str(home / "a")]


def test_a_change_behind_a_link_changes_the_digest(tmp_path: Path) -> None:
    laid(tmp_path / "elsewhere", "1.jpg")
    home = laid(tmp_path / "home", "0.jpg")
    (home / "more").symlink_to(tmp_path / "elsewhere")
    before = listing_digest(home), tree_digest(home)
    (tmp_path / "elsewhere" / "1.jpg").write_bytes(b"another")
    after = listing_digest(home), tree_digest(home)
    assert all(old != new for old, new in zip(before, after, strict=True))


SIDECARS = [
    "._1.jpg",
    "a/._b",
    ".DS_Store",
    "a/.DS_Store",
    "__MACOSX/a/1.jpg",
    "a/thumbs.db",
    "Desktop.ini",
]
OTHERS = ["1.jpg", "a/.hidden.jpg", "a/_.jpg", "thumbs.jpg", "a/MACOSX/1.jpg", "a.DS_Store"]


@pytest.mark.parametrize("name", [*SIDECARS, "desktop.ini", "Thumbs.db"])
def test_a_sidecar_is_recognized_in_any_folder(name: str) -> None:
    assert is_sidecar(name)
    assert is_sidecar(f"deeper/{name}")


@pytest.mark.parametrize("name", OTHERS)
def test_an_ordinary_file_is_no_sidecar(name: str) -> None:
    assert not is_sidecar(name)


@given(st.sets(st.sampled_from(SIDECARS)))
def test_sidecars_do_not_change_the_digest_of_a_folder(
    tmp_path_factory: pytest.TempPathFactory, sidecars: set[str]
) -> None:
    home = laid(tmp_path_factory.mktemp("home"), "1.jpg", "a/2.jpg")
    before = listing_digest(home)
    laid(home, *sidecars)
    assert listing_digest(home) == before


def test_sidecars_are_not_extracted_and_reported_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with zipfile.ZipFile(tmp_path / "records.zip", "w") as archive:
        for name in ("json/a.json", "json/._a.json", "__MACOSX/json/._a.json", "json/.DS_Store"):
            archive.writestr(name, "{}")
    extract(tmp_path / "records.zip", "0", ["*json/*"], tmp_path / "home")
    assert names(tmp_path / "home") == ["json/a.json"]
    told = "3 files that macOS or Windows put there are left out (json/._a.json…)"
    assert capsys.readouterr().err == f"{tmp_path / 'records.zip'}: {told}\n"


def test_members_with_names_that_are_not_utf8_are_extracted_once(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "b.tar", "w:", format=tarfile.GNU_FORMAT) as tar:
        info = tarfile.TarInfo("caf\udce9.jpg")
        info.size = 3
        tar.addfile(info, io.BytesIO(b"owl"))
    home = tmp_path / "home"
    extract(tmp_path / "b.tar", "0", ["*.jpg"], home)
    (path,) = (home / name for name in names(home))
    assert os.fsencode(path.name) == b"caf\xe9.jpg"
    path.write_bytes(b"my own")
    extract(tmp_path / "b.tar", "0", ["*.jpg"], home)
    assert path.read_bytes() == b"my own"
    assert ImageReader(home, home, ()).read("café.jpg", 99) == b"my own"


def test_parquet_files_behind_a_link_hold_the_images(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    image = {"bytes": encoded(photo(1)), "path": "birds/owl.png"}
    (tmp_path / "elsewhere").mkdir()
    pq.write_table(pa.table({"image": [image]}), tmp_path / "elsewhere" / "1.parquet")
    home = laid(tmp_path / "home", "._1.parquet")
    corpus = MixtureInput(tmp_path, "any", 1, "0", {})
    assert isinstance(open_images(corpus, tmp_path, home), ImageReader)
    (home / "more").symlink_to(tmp_path / "elsewhere")
    assert parquet_files(home) == [home / "more" / "1.parquet"]
    release = open_images(corpus, tmp_path, home)
    assert isinstance(release, ParquetImages)
    assert release.read("birds/owl.png", 1 << 20) == image["bytes"]
