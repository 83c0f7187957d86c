"""Builds whose processes are killed, interrupted or out of memory end with the same bytes."""

import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from threading import Thread

import pytest
from conftest import World, encoded, photo
from faulty import apart, build_at, digests, lay_gallery, manifest_of
from PIL import Image

from imp_data.errors import UserError
from imp_data.images import checkpoint, fingerprint_cache
from imp_data.images.fingerprint import Fingerprint, fingerprint_image
from imp_data.images.reader import ImageReader, ImageSource
from imp_data.manifests import Limits
from imp_data.parallel import map_ordered
from imp_data.pipeline.build import Build
from imp_data.pipeline.environment import check_environment
from imp_data.pipeline.run_all import stages
from imp_data.storage.tables import open_parquet

ROOT = Path(__file__).parents[2]
IMAGES = 700


@pytest.fixture(scope="module")
def gallery(tmp_path_factory: pytest.TempPathFactory) -> World:
    """A source of several hundred images, built once."""
    world = World(tmp_path_factory.mktemp("gallery"))
    lay_gallery(world, {}, count=IMAGES)
    world.build({"photos": IMAGES})
    return world


@pytest.fixture(scope="module")
def expected(gallery: World) -> dict[str, str]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("IMP_WORKERS", "1")
        return digests(build_at(manifest_of(gallery), gallery.data.root))


@pytest.fixture
def build(gallery: World, tmp_path: Path) -> Build:
    """A build with upstream files alone."""
    shutil.copytree(gallery.data.raw(""), tmp_path / "raw", copy_function=os.link)
    return build_at(manifest_of(gallery), tmp_path)


def children(process: int) -> list[int]:
    lists = Path(f"/proc/{process}/task").glob("*/children")  # one for each of its threads
    return [int(child) for one in lists for child in one.read_text().split()]


def workers() -> set[int]:
    """Return the engine's workers, which are children of Python's fork server."""
    return {w for process in children(os.getpid()) for w in children(process)}


@pytest.mark.parametrize(
    ("asset", "begun"),
    [
        ("records/photos", "records/small/.photos.arrow.*.partial"),
        ("images/photos", "fingerprints/small/.photos.parquet.*.partial"),
    ],
)
def test_killed_workers_do_not_change_the_result(
    asset: str,
    begun: str,
    build: Build,
    expected: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("IMP_WORKERS", "2")
    killed: set[int] = set()

    def kill_all_once_begun() -> None:
        while not list(build.data.root.glob(begun)) or not (found := workers()):
            time.sleep(0.001)
        for process in found:
            os.kill(process, signal.SIGKILL)
            killed.add(process)

    for name, run in stages(build):
        if name == asset:
            killer = Thread(target=kill_all_once_begun, daemon=True)
            killer.start()
            assert run().digest == expected[name]
            killer.join(60)
        else:
            run()
    assert killed and not killed & workers()
    assert digests(build) == expected


ORPHAN = """
import os, sys, time
from imp_data.parallel.worker import Worker
def at_work(path):
    print(os.getpid(), file=open(path, "w"), flush=True)
    time.sleep(600)
if __name__ == "__main__":
    Worker().do(at_work, sys.argv[1])
"""


def test_a_worker_ends_with_its_build_during_a_piece(tmp_path: Path) -> None:
    script, told = tmp_path / "orphan.py", tmp_path / "pid"
    script.write_text(ORPHAN)
    build = subprocess.Popen(
        [sys.executable, script, told], env={**os.environ, "PYTHONPATH": str(ROOT)}
    )
    while not told.exists() or not told.read_text():
        time.sleep(0.01)
    worker = int(told.read_text())
    build.kill()
    build.wait()
    while Path(f"/proc/{worker}/cmdline").exists() and not is_zombie(worker):
        time.sleep(0.01)


def is_zombie(process: int) -> bool:
    with suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    return True


def killed_in_every_stage(manifest: Path, root: Path) -> list[str]:
    """Build in forks of this process, each of which dies before it moves the next file.

    One dies just before, the next just after. Returns what they were at, in their order.
    """

    said = root / "said"
    while True:
        before = said.read_text().splitlines() if said.exists() else []
        child = os.fork()
        if child == 0:
            build = build_at(manifest, root)
            _die_at_a_rename(said, before)
            digests(build)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        if not os.WIFSIGNALED(status):
            assert status == 0
            return before
        assert os.WTERMSIG(status) == signal.SIGKILL


def _die_at_a_rename(said: Path, before: list[str]) -> None:
    rename = os.replace

    def dying(source: Path, target: Path) -> None:
        if str(target) in before:
            rename(source, target)
            return
        with said.open("a") as out:
            out.write(f"{target}\n")
        if len(before) % 2:
            rename(source, target)
        os.kill(os.getpid(), signal.SIGKILL)

    os.replace = dying


@pytest.mark.slow
def test_a_build_killed_at_each_file_it_writes_ends_with_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IMP_WORKERS", "1")
    world = World(tmp_path / "world")
    lay_gallery(world, {}, count=9)
    world.images("quiz", {"00000000000000aa.png": encoded(photo(900))})
    world.benchmark("quiz", ["00000000000000aa"])
    kept_out = [{"benchmark": "quiz", "max_distance_bits": 10}]
    build = world.build({"photos": 5}, shard_rows=3, decontaminate=kept_out)
    shutil.copytree(world.data.raw(""), tmp_path / "killed" / "raw")
    whole = digests(build)
    deaths = apart(killed_in_every_stage, manifest_of(world), tmp_path / "killed")
    assert {Path(line).name for line in deaths} >= {
        *("photos.json", "quiz.json", "photos.arrow", "photos.parquet", "quiz.parquet"),
        *("small", "duplicates.json", "README.md", "card.json"),
    }
    assert len(deaths) == len(set(deaths)) == 22
    again = build_at(manifest_of(world), tmp_path / "killed")
    assert digests(again) == whole
    assert [p.name for p in (tmp_path / "killed").rglob(".*") if p.name != ".stamps"] == []


def die_after(manifest: Path, root: Path, count: int) -> None:
    """Kill this process at the first batch beyond a number of images."""
    build, looked = build_at(manifest, root), fingerprint_cache.fingerprint_images

    def dying(images: Sequence[str], reader: ImageSource, limits: Limits) -> list[Fingerprint]:
        nonlocal count
        count -= len(images)
        if count < 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return looked(images, reader, limits)

    fingerprint_cache.fingerprint_images = dying
    build.images("photos")


def kept_in_journal(build: Build) -> set[str]:
    files = build.data.journal("photos").rglob("*.parquet")
    return {image for file in files for image in open_parquet(file).read()["image"].to_pylist()}


def spoil_unseen(path: Path) -> None:
    """Replace a file's bytes but not its name, size and time, to detect a read."""
    stat = path.stat()
    path.unlink()
    path.write_bytes(bytes(stat.st_size))
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


@pytest.mark.slow
def test_images_that_killed_runs_have_fingerprinted_are_not_read_again(
    build: Build, gallery: World, expected: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IMP_WORKERS", "1")
    build.raw("photos")
    build.records("photos")
    known: list[set[str]] = []
    for _ in range(2):
        with pytest.raises(AssertionError, match=r"Crash\(exit_code=-9\)"):
            apart(die_after, manifest_of(gallery), build.data.root, 300)
        known.append(kept_in_journal(build))
    assert [len(images) for images in known] == [256, 512]
    assert known[0] < known[1]
    for image in known[1]:
        spoil_unseen(build.data.raw("photos") / "loose" / Path(image).name)
    assert build.images("photos").digest == expected["images/photos"]
    assert not build.data.journal("photos").exists()


def test_a_foreign_or_damaged_checkpoint_is_ignored(
    build: Build, gallery: World, expected: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IMP_WORKERS", "1")
    build.raw("photos")
    build.records("photos")
    with pytest.raises(AssertionError):
        apart(die_after, manifest_of(gallery), build.data.root, 600)
    os.truncate(min(build.data.journal("photos").rglob("*.parquet")), 1000)
    assert build.images("photos").digest == expected["images/photos"]
    other = build.data.journal("photos") / "of other images" / "000000.parquet"
    shutil.copytree(gallery.data.root / "fingerprints", other.parent)
    with checkpoint.open_checkpoint(build.data.journal("photos"), "of these") as kept:
        assert kept.files == []
    assert not other.exists()


def takes_all_memory(number: int) -> int:
    if number == 3:
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        most = pages * resource.getpagesize() + (64 << 20)
        before = resource.getrlimit(resource.RLIMIT_AS)
        resource.setrlimit(resource.RLIMIT_AS, (most, before[1]))
        try:
            return len(bytearray(1 << 30))
        finally:  # the process lives on, for other stages
            resource.setrlimit(resource.RLIMIT_AS, before)
    return number


def test_a_piece_that_exhausts_memory_is_named() -> None:
    results = map_ordered(takes_all_memory, range(6), 2)
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(UserError) as error:
        next(results)
    assert error.value.where == "piece of work 3"
    assert error.value.problem == "memory is not sufficient for it"
    assert "set a smaller IMP_WORKERS" in error.value.remedy


def look_with_little_memory(image: str, reader: ImageReader, spare_bytes: int) -> Fingerprint:
    fingerprint_image(image, reader, Limits(max_pixels=1))
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    most = pages * resource.getpagesize() + spare_bytes
    resource.setrlimit(resource.RLIMIT_AS, (most, resource.RLIM_INFINITY))
    return fingerprint_image(image, reader, Limits())


@pytest.mark.slow
def test_exhausted_memory_is_never_a_fact_about_an_image(tmp_path: Path) -> None:
    (tmp_path / "big.png").write_bytes(encoded(Image.new("RGB", (6_000, 6_000))))
    reader = ImageReader(tmp_path, tmp_path, ())
    with pytest.raises(MemoryError):
        apart(look_with_little_memory, "big.png", reader, 64 << 20)
    assert apart(look_with_little_memory, "big.png", reader, 2 << 30).status == "ok"


def nap(number: int) -> int:
    time.sleep(600 if number == 1 else 0)
    return number


@pytest.mark.slow
def test_a_stalled_piece_is_an_error_that_names_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    results = map_ordered(nap, range(3), 2, on_crash=lambda piece, _: -1, seconds=1)
    assert next(results) == 0
    # Only now: until its workers have begun, a busy machine may need longer.
    monkeypatch.setattr("imp_data.parallel.worker._PATIENCE", 1)
    with pytest.raises(UserError) as error:
        next(results)
    assert error.value.where == "piece of work 1"
    assert "as when a disk does not respond" in error.value.problem


@pytest.mark.parametrize(
    ("variable", "text"),
    [("IMP_WORKERS", "x"), ("IMP_ENGINE", "spark"), ("IMP_DATA_MIRROR", "ftp://x")],
)
def test_a_wrong_setting_is_an_error_before_any_work(
    variable: str, text: str, build: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    check_environment(build.recipe.mixture)
    monkeypatch.setenv(variable, text)
    with pytest.raises(UserError) as error:
        check_environment(build.recipe.mixture)
    assert error.value.where == variable


TRAP = """
import os, time
from PIL import Image, ImageFile
def open_trap(file, name):
    open(os.environ["TRAPPED"], "w").close()
    time.sleep(600)
Image.register_open("TRAP", open_trap, lambda prefix: prefix.startswith(b"TRAP"))
"""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Create a Dagster instance for this test."""
    folder = tmp_path / "home"
    folder.mkdir()
    (folder / "dagster.yaml").write_text("telemetry: {enabled: false}")
    (folder / "sitecustomize.py").write_text(TRAP)
    return folder


def launch(manifest: Path, data: Path, home: Path, **more: str) -> subprocess.Popen[str]:
    own = {"IMP_MIXTURE": str(manifest), "IMP_DATA_DIR": str(data), "DAGSTER_HOME": str(home)}
    return subprocess.Popen(
        [Path(sys.executable).with_name("dg"), "launch", "--job", "rebuild"],
        cwd=ROOT,
        env={**os.environ, **own, **more},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


@pytest.mark.slow
def test_a_wrong_setting_ends_a_run_with_one_error(
    gallery: World, home: Path, tmp_path: Path
) -> None:
    run = launch(manifest_of(gallery), tmp_path / "data", home, IMP_WORKERS="x")
    said, _ = run.communicate(timeout=100)
    assert run.returncode == 1
    assert said.count("IMP_WORKERS: is 'x'\n  What to do: set it to a whole number") == 1
    assert "Traceback" not in said
    assert not (tmp_path / "data").exists()


@pytest.mark.slow
def test_ctrl_c_ends_a_run_during_an_image_and_the_next_run_continues(
    home: Path, tmp_path: Path
) -> None:
    world = World(tmp_path / "world")
    lay_gallery(world, {"trap.png": b"TRAP"}, count=9)
    world.build({"photos": 10})
    trapped = tmp_path / "trapped"
    settings = {"PYTHONPATH": str(home), "TRAPPED": str(trapped), "IMP_WORKERS": "2"}
    run = launch(manifest_of(world), world.data.root, home, **settings)
    while not trapped.exists():
        assert run.poll() is None
        time.sleep(0.05)
    os.killpg(run.pid, signal.SIGINT)
    said, _ = run.communicate(timeout=60)  # ten times less than the image would have taken
    assert run.returncode == 1
    assert "images/photos" in said
    assert "interrupted; the same command continues from here" in said
    assert "built, 0 unchanged, 1 failed" in said
    assert "Stack Trace" not in said
    again = launch(manifest_of(world), world.data.root, home)
    said, _ = again.communicate(timeout=100)
    assert again.returncode == 0
    assert said.endswith("8 assets: 5 built, 3 unchanged\n")
