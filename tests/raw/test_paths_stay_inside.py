"""Nothing outside the data directory is read or written, whatever a manifest or archive names.

A link that the user has made at the top is followed anywhere.
"""

import io
import tarfile
from pathlib import Path

import pytest
from conftest import World, encoded, photo, record, run

from imp_data.errors import UserError
from imp_data.images.reader import ImageReader, data_image_reader
from imp_data.manifests import Folder
from imp_data.raw.extract import extract
from imp_data.storage.data_dir import DataDir
from imp_data.storage.globs import matching

MANY = 1 << 20


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A folder of the user with private/secret.json and private/secret.png."""
    folder = tmp_path / "private"
    folder.mkdir()
    (folder / "secret.json").write_bytes(b"[]")
    (folder / "secret.png").write_bytes(b"secret")
    return folder


def birds_of(root: Path, path: str = "birds", inside: str = "photos") -> ImageReader:
    """Return a reader of raw/birds/<inside> for images whose paths begin with `path`."""
    return data_image_reader(
        DataDir(root), (("birds", Folder(path=path, file=None, inside=inside)),)
    )


@pytest.mark.parametrize("link", ["photos/a/secret.png", "photos/secret.png"])
def test_an_image_that_is_a_link_out_of_the_data_directory_is_refused(
    link: str, tmp_path: Path, outside: Path
) -> None:
    place = tmp_path / "data/raw/birds" / link
    place.parent.mkdir(parents=True)
    place.symlink_to(outside / "secret.png")
    with pytest.raises(UserError) as error:
        birds_of(tmp_path / "data").read(link.replace("photos/", "birds/"), MANY)
    assert error.value.where == str(place)
    assert error.value.problem.endswith(f"out of the data directory, to {outside}/secret.png")


def test_links_may_lead_into_folders_that_the_environment_allows(
    tmp_path: Path, outside: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "data/raw/birds/photos/a/secret.png"
    place.parent.mkdir(parents=True)
    place.symlink_to(outside / "secret.png")
    monkeypatch.setenv("IMP_LINKED_FOLDERS", f"{tmp_path}/other:{outside}")
    assert birds_of(tmp_path / "data").read("birds/a/secret.png", MANY) == b"secret"


def test_a_subfolder_that_is_a_link_out_of_the_data_directory_is_refused(
    tmp_path: Path, outside: Path
) -> None:
    photos = tmp_path / "data/raw/birds/photos"
    photos.mkdir(parents=True)
    (photos / "sub").symlink_to(outside)
    with pytest.raises(UserError, match="a link out of the data directory"):
        birds_of(tmp_path / "data").read("birds/sub/secret.png", MANY)


@pytest.mark.parametrize(
    "link", ["data", "data/raw", "data/raw/birds", "data/raw/birds/photos", "data/raw/birds/a/b"]
)
def test_a_link_at_or_above_a_folder_of_the_manifest_is_followed(link: str, tmp_path: Path) -> None:
    inside = "a/b" if link.endswith("a/b") else "photos"
    disk, place = tmp_path / "disk", tmp_path / link
    below = (tmp_path / "data/raw/birds" / inside).relative_to(place)
    (disk / below).mkdir(parents=True)
    (disk / below / "owl.png").write_bytes(b"owl")
    place.parent.mkdir(parents=True, exist_ok=True)
    place.symlink_to(disk)
    assert birds_of(tmp_path / "data", inside=inside).read("birds/owl.png", MANY) == b"owl"


def test_a_link_directly_in_a_raw_or_image_folder_is_followed(
    tmp_path: Path,
) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    (disk / "owl.png").write_bytes(b"owl")
    for link in ("data/raw/birds/2024", "data/images/jays/2024"):
        (tmp_path / link).parent.mkdir(parents=True)
        (tmp_path / link).symlink_to(disk)
    assert birds_of(tmp_path / "data", inside="").read("birds/2024/owl.png", MANY) == b"owl"
    assert birds_of(tmp_path / "data", path="jays/2024").read("jays/2024/owl.png", MANY) == b"owl"


def test_a_link_that_stays_in_the_data_directory_is_followed(tmp_path: Path) -> None:
    photos = tmp_path / "data/raw/birds/photos"
    (photos / "deep").mkdir(parents=True)
    (tmp_path / "data/raw/owls").mkdir()
    (tmp_path / "data/raw/owls/1.png").write_bytes(b"owl")
    (photos / "deep/owl.png").symlink_to("../../../owls/1.png")
    assert birds_of(tmp_path / "data").read("birds/deep/owl.png", MANY) == b"owl"


def test_all_links_are_followed_in_a_folder_that_the_user_names(
    tmp_path: Path, outside: Path
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / "sub").symlink_to(outside)
    assert ImageReader(home, home, ()).read("sub/secret.png", MANY) == b"secret"


def test_a_benchmark_id_that_contains_dot_dot_finds_no_file(tmp_path: Path, outside: Path) -> None:
    (tmp_path / "data/raw/birds/photos").mkdir(parents=True)
    climbing = "birds/../../../../private/secret.png"
    with pytest.raises(FileNotFoundError):
        birds_of(tmp_path / "data").read(climbing, MANY)


def test_record_files_behind_links_out_are_refused_unless_the_user_named_them(
    tmp_path: Path, outside: Path
) -> None:
    raw = tmp_path / "data/raw/birds"
    (raw / "json").mkdir(parents=True)
    (raw / "json/a.json").symlink_to(outside / "secret.json")
    for pattern in ("json/*.json", "**/*.json"):
        with pytest.raises(UserError) as error:
            matching(raw, pattern)
        assert error.value.where == str(raw / "json/a.json")
    assert matching(raw, "json/a.json") == [raw / "json/a.json"]  # named: meant
    (raw / "json/a.json").unlink()
    (raw / "own").symlink_to(outside)
    assert matching(raw, "own/*.json") == [raw / "own/secret.json"]


def test_a_member_is_not_extracted_through_a_link_out(tmp_path: Path, outside: Path) -> None:
    raw = tmp_path / "data/raw/birds"
    (raw / "a").mkdir(parents=True)
    (raw / "a/b").symlink_to(outside)
    with tarfile.open(raw / "x.tar", "w:") as tar:
        info = tarfile.TarInfo("a/b/new.json")
        info.size = 2
        tar.addfile(info, io.BytesIO(b"[]"))
    with pytest.raises(UserError, match="a link out of the data directory"):
        extract(raw / "x.tar", "0", ["a/b/*.json"], raw)
    assert not (outside / "new.json").exists()


def test_links_at_the_top_do_not_change_the_bytes_of_a_mixture(world: World) -> None:
    world.images("photos", {"1.png": encoded(photo(1))})
    world.source("photos", [record(1, "photos/1.png")], images=["photos"])
    plain = run(world.build({"photos": 1}))["mixture"].digest
    root = world.data.root
    disk = root.parent / "disk"
    (root / "raw" / "photos").rename(disk)
    (root / "raw" / "photos").symlink_to(disk)
    assert run(world.build({"photos": 1}, name="again"))["mixture"].built
    (disk / "loose").rename(root.parent / "loose")
    (disk / "loose").symlink_to(root.parent / "loose")
    linked = world.build({"photos": 1})
    assert run(linked)["mixture"].digest == plain
