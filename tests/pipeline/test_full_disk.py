"""A full or read-only disk is a clear error, and a later build has the same bytes."""

import hashlib
import io
import os
import random
import shutil
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest
from conftest import PUBLISHED, World
from faulty import Disk, apart, build_at, digests, lay_gallery, manifest_of

from imp_data.errors import UserError
from imp_data.images.decoding import decoder_version
from imp_data.manifests import load_recipe
from imp_data.pipeline.build import Build
from imp_data.pipeline.environment import check_environment
from imp_data.pipeline.run_all import stages


@pytest.fixture(scope="module")
def gallery(tmp_path_factory: pytest.TempPathFactory, one_worker: None) -> World:
    """One source unpacked from a zip, and one with images; `manifest_of` gives the manifest."""
    world = World(tmp_path_factory.mktemp("gallery"))
    lay_gallery(world, {}, count=60)
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("talk.json", b'[{"id": 1, "conversations": []}]' + b" " * 100_000)
    world.file("talk", "talk.zip", packed.getvalue())
    files = [{"path": "talk.zip", "by_hand": "put it there", "unpack": ["*.json"]}]
    stated = {**PUBLISHED, "layout": "llava", "records": ["talk.json"], "files": files}
    world.manifest("sources", "talk", **stated)
    world.build({"photos": 50, "talk": 9}, shard_rows=20)
    return world


@pytest.fixture(scope="module")
def expected(gallery: World) -> dict[str, str]:
    return digests(build_at(manifest_of(gallery), gallery.data.root))


@pytest.fixture
def build(gallery: World, expected: dict[str, str], tmp_path: Path) -> Build:
    """A build that has only upstream's files."""
    shutil.copytree(gallery.data.raw(""), tmp_path / "data" / "raw")
    for left in ("talk.json", ".talk.zip.unpacked"):
        (tmp_path / "data" / "raw" / "talk" / left).unlink()
    return build_at(manifest_of(gallery), tmp_path / "data")


@pytest.fixture
def disk_at(build: Build) -> Iterator[Callable[[str, int], Disk]]:
    """Mount a small disk at a folder of the data directory, with the content of the folder."""
    disks: list[Disk] = []

    def mounted(folder: str, kib: int) -> Disk:
        place = build.data.root / folder
        kept = place.with_name("kept")
        if place.exists():
            place.rename(kept)
        disks.append(Disk(place, kib))
        if kept.exists():
            shutil.copytree(kept, place, dirs_exist_ok=True)
        return disks[-1]

    yield mounted
    for disk in disks:
        disk.unmount()


def build_until(build: Build, asset: str) -> None:
    """Run every stage before one."""
    for name, run in stages(build):
        if name == asset:
            return
        run()


STAGES = {
    "raw/talk": ("raw/talk", 60),
    "records/photos": ("records", 8),
    "images/photos": ("fingerprints", 4),
    "screened/photos": ("screened", 4),
    "mixture": ("mixtures", 40),
    "card": ("mixtures/small", 40),
}


@pytest.mark.parametrize("asset", [*list(STAGES)[:-1]])
def test_a_full_disk_stops_a_stage_that_continues_once_there_is_space(
    asset: str, build: Build, disk_at: Callable[[str, int], Disk], expected: dict[str, str]
) -> None:
    build_until(build, asset)
    folder, kib = STAGES[asset]
    disk = disk_at(folder, kib)
    before = disk.names()
    with pytest.raises(UserError) as error:
        dict(stages(build))[asset]()
    assert str(disk.folder) in error.value.where
    assert "(No space left on device)" in error.value.problem
    assert error.value.remedy.startswith("free space or grant access, then run the same command")
    assert disk.names() == before
    disk.remount("size=8m")
    assert digests(build) == expected


@pytest.mark.parametrize("asset", STAGES)
def test_a_read_only_folder_stops_the_stage_that_writes_to_it(
    asset: str, build: Build, disk_at: Callable[[str, int], Disk], expected: dict[str, str]
) -> None:
    build_until(build, asset)
    disk = disk_at(STAGES[asset][0], 8_000)
    disk.remount("ro")
    with pytest.raises(UserError) as error:
        dict(stages(build))[asset]()
    assert str(disk.folder) in error.value.where
    assert "Read-only file system" in error.value.problem
    disk.remount("rw")
    assert digests(build) == expected


def test_a_read_only_data_directory_is_an_error(
    build: Build, disk_at: Callable[[str, int], Disk], expected: dict[str, str]
) -> None:
    disk = disk_at("", 8_000)
    disk.remount("ro")
    with pytest.raises(UserError, match="Read-only file system"):
        digests(build)
    disk.remount("rw")
    assert digests(build) == expected
    disk.remount("ro")
    assert digests(build) == expected, "a finished build writes nothing"


class Upstream(BaseHTTPRequestHandler):
    """Serves one file without a Content-Length."""

    content = random.Random(1).randbytes(300_000)

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        with suppress(ConnectionError):
            self.wfile.write(self.content)

    def log_message(self, format: str, *args: object) -> None:
        """Log nothing."""


def test_a_full_disk_stops_a_download_that_continues_once_there_is_space(
    world: World, tmp_path: Path
) -> None:
    server = HTTPServer(("127.0.0.1", 0), Upstream)
    Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}/big.json"
    sha256 = hashlib.sha256(Upstream.content).hexdigest()
    files = [{"path": "big.json", "url": url, "sha256": sha256}]
    stated = {**PUBLISHED, "layout": "llava", "records": ["big.json"], "files": files}
    world.manifest("sources", "big", **stated)
    build = world.build({"big": 1})
    disk = Disk(world.data.raw("big"), 100)
    try:
        with pytest.raises(UserError) as error:
            build.raw("big")
        assert error.value.where == str(disk.folder / "big.json")
        assert "No space left on device" in error.value.problem
        assert "big.json" not in disk.names()
        disk.remount("size=8m")
        assert build.raw("big").figures["files"] == {"big.json": sha256}
        assert disk.names() == ["big.json"]
    finally:
        disk.unmount()
        server.shutdown()
        server.server_close()


def fingerprint_as_nobody(manifest: Path, root: Path) -> None:
    """Run the images stage as the user nobody: root may read every file."""
    build = build_at(manifest, root)
    decoder_version()  # imports its modules while root may still read them
    os.seteuid(65534 if os.geteuid() == 0 else os.geteuid())
    build.images("photos")


@pytest.mark.parametrize("unreadable", ["photos/loose/7.png", "photos/loose"])
def test_an_unreadable_image_stops_the_stage_and_is_not_called_broken(
    unreadable: str, gallery: World, expected: dict[str, str]
) -> None:
    # Not pytest's folder, which other users may not enter.
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        root = Path(shutil.copytree(gallery.data.root, Path(folder) / "data"))
        build = build_at(manifest_of(gallery), root)
        os.truncate(build.data.fingerprints(build.name, "photos"), 0)
        for path in (root, *root.rglob("*")):
            path.chmod(0o777)
        closed = root / "raw" / unreadable
        closed.chmod(0)
        with pytest.raises(UserError) as error:
            apart(fingerprint_as_nobody, manifest_of(gallery), root)
        assert error.value.where.startswith(str(closed))
        assert error.value.problem == "cannot be read (Permission denied)"
        assert error.value.remedy.startswith("grant access")
        closed.chmod(0o777)
        assert digests(build) == expected


@pytest.mark.parametrize("inside", ["", "below/it"])
def test_a_data_directory_that_is_a_file_is_an_error_before_any_work(
    inside: str, gallery: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "file"
    file.touch()
    monkeypatch.setenv("IMP_DATA_DIR", str(file / inside))
    with pytest.raises(UserError) as error:
        check_environment(load_recipe(manifest_of(gallery)).mixture)
    assert error.value.where == "IMP_DATA_DIR"
    assert error.value.problem == f"is {file / inside}, but {file} is a file"
