"""Folder names that contain patterns or URLs are plain names."""

import shutil
from pathlib import Path

import pytest
from conftest import ALBUM_QUOTAS, ALBUM_RULES, World, built, encoded, lay_album, photo, run
from datasets import load_from_disk
from faulty import build_at
from test_cli import Ran

from imp_data.images.compare import fingerprint_paths, match_images
from imp_data.mixture.duplicates.report import load_or_make_report
from imp_data.mixture.ledger_queries import diff, explain
from imp_data.mixture.verify import verify
from imp_data.storage.digests import tree_digest
from imp_data.storage.paths import parse_path

pytestmark = pytest.mark.slow

NAMES = ["x[1]", "[!a]*?", "{a,b}", "a=1", "100%25", "a#b?c", "~", "s3:", "a b", "ä\u0301"]


@pytest.fixture(params=NAMES)
def named(request: pytest.FixtureRequest, tmp_path: Path, album: Path) -> Path:
    """Copy a mixture below a folder of that name, beside one that the name matches as a pattern."""
    for name in (request.param, "x1", "a", "b"):
        shutil.copytree(album, tmp_path / name / "mixtures" / "small", dirs_exist_ok=True)
    for name in ("x1", "a", "b"):
        (tmp_path / name / "mixtures" / "small" / "ledger.parquet").write_bytes(b"another")
    return tmp_path / str(request.param) / "mixtures" / "small"


def test_every_reader_reads_the_mixture_in_the_folder_of_that_name(
    named: Path, album: Path
) -> None:
    assert verify(named) == []
    assert explain(named, "t3") == explain(album, "t3")
    assert explain(named, "4") == explain(album, "4")
    assert diff(named, album).is_empty() and diff(album, named).is_empty()
    assert load_or_make_report(named, [])["samples"] == 11
    assert load_from_disk(str(named)).num_rows == 11


@pytest.mark.parametrize("name", [name for name in NAMES if name != "~"])
def test_the_commands_take_the_folder_of_that_name(
    name: str,
    album: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    shutil.copytree(album, tmp_path / name)
    monkeypatch.chdir(tmp_path)
    for words in (
        ["verify", name],
        ["explain", "t3", "--mixture", name],
        ["diff", name, str(album)],
    ):
        assert Ran(capsys, *words).status == 0


@pytest.mark.parametrize("name", NAMES)
def test_a_build_in_a_data_directory_of_that_name_has_the_same_bytes(
    name: str, album: Path, tmp_path: Path, one_worker: None
) -> None:
    world = World(tmp_path / name)
    lay_album(world)
    run(world.build(ALBUM_QUOTAS, **ALBUM_RULES))
    assert tree_digest(world.data.mixture("small")) == tree_digest(album)
    run(world.build(ALBUM_QUOTAS, name="other", **ALBUM_RULES))
    again = run(build_at(world.manifests / "mixtures" / "other.yaml", world.data.root))
    assert not built(again)
    assert world.data.mixture_names == ["other", "small"]


@pytest.mark.parametrize("name", ["x[1]", "[!a]*", "{a,b}", "a=1", "a b"])
def test_a_build_in_a_store_below_that_name_has_the_same_bytes(
    name: str, tmp_path: Path, album: Path, one_worker: None
) -> None:
    world = World(tmp_path / "here")
    lay_album(world)
    world.build(ALBUM_QUOTAS, **ALBUM_RULES)
    root = parse_path(f"memory://{tmp_path}/{name}")
    for file in sorted((world.data.root / "raw").rglob("*")):
        if file.is_file():
            (root / file.relative_to(world.data.root).as_posix()).write_bytes(file.read_bytes())
    manifest = world.manifests / "mixtures" / "small.yaml"
    run(build_at(manifest, root))
    mixture = root / "mixtures" / "small"
    assert tree_digest(mixture) == tree_digest(album)
    assert verify(mixture) == []
    assert explain(mixture, "t3") == explain(album, "t3")
    build = build_at(manifest, root)
    assert build.data.mixture_names == ["small"]
    assert not built(run(build))


@pytest.mark.parametrize("name", NAMES)
def test_images_below_a_folder_of_that_name_are_found_and_compared(
    name: str, tmp_path: Path
) -> None:
    folder = tmp_path / name
    for path in (folder / "images" / name / "1.png", tmp_path / "x1" / "2.png"):
        path.parent.mkdir(parents=True)
        path.write_bytes(encoded(photo(1)))
    rows, unread = fingerprint_paths([folder / "images"], folder / "f.parquet")
    assert ([row.image for row in rows], unread) == ([f"images/{name}/1.png"], {})
    found = match_images(folder / "f.parquet", folder / "f.parquet", 0)
    assert [pair.image for pair in found] == [f"images/{name}/1.png"]
