"""Two concurrent runs in one data directory each end with the bytes of a single run."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import pytest
import yaml
from conftest import World, built, run
from faulty import BUILD_SCRIPT as BUILD
from faulty import build_at, digests, lay_gallery

from demo.stage import world as draw
from imp_data.manifests import load_recipe
from imp_data.mixture.verify import verify
from imp_data.pipeline.build import Build
from imp_data.storage.atomic_write import write_atomically
from imp_data.storage.data_dir import DataDir
from imp_data.storage.digests import file_sha256, tree_digest
from imp_data.storage.locks import hold_lock
from tests.raw.test_fetch import Handler, serving

# Draw a world of few files; the drawing of the whole takes half a minute.
DRAW = """
import sys, time
from pathlib import Path
from demo import stage
from imp_data.pipeline.build import Build
def draw_little(raw, advance):
    for n in range(40):
        path = raw / f"{n % 9}" / f"{n}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{n}")
        time.sleep(0.02)
stage.draw_world = draw_little
print(stage.world(Build.of(Path(sys.argv[1]))).digest)
"""
HOLD = """
import sys, time
from pathlib import Path
from imp_data.storage.locks import hold_lock
with hold_lock(Path(sys.argv[1]), "records/photos", "mixture other"):
    print("held", flush=True)
    time.sleep(600)
"""
# Before a build: print when the records stage begins, and continue when stdin is closed.
PAUSING = """
import sys
from imp_data.pipeline import build as pipeline
def paused(*arguments, make=pipeline.build_records):
    print("builds records", flush=True)
    sys.stdin.read()
    return make(*arguments)
pipeline.build_records = paused
"""
ROOT = Path(__file__).parents[2]
IMAGES = 40


def start(script: str, *arguments: object, **environment: str) -> subprocess.Popen[str]:
    own = {"IMP_WORKERS": "1", "PYTHONPATH": str(ROOT), **environment}
    return subprocess.Popen(
        [sys.executable, "-c", script, *map(str, arguments)],
        env={**os.environ, **own},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def output_of(process: subprocess.Popen[str]) -> tuple[str, str]:
    """Return the output of a process after it ended without an error."""
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    assert "Traceback" not in err
    return out, err


@pytest.fixture(scope="module")
def gallery(tmp_path_factory: pytest.TempPathFactory) -> World:
    """A source of some images, with its records in an archive."""
    world = World(tmp_path_factory.mktemp("gallery"))
    lay_gallery(world, {}, count=IMAGES)
    packed = BytesIO()
    with ZipFile(packed, "w") as archive:
        archive.write(world.data.raw("photos") / "records.json", "records.json")
        for n in range(200):
            archive.writestr(f"extra/{n}.txt", f"{n}")
    world.file("photos", "records.zip", packed.getvalue())
    (world.data.raw("photos") / "records.json").unlink()
    archive_by_hand = {"path": "records.zip", "by_hand": "put it there"}
    publish(world, [{**archive_by_hand, "unpack": ["records.json", "extra/*"]}])
    return world


def publish(world: World, files: list[dict[str, Any]]) -> None:
    """Write the gallery's manifest, with its records in these files."""
    stated = {"title": "A", "homepage": "https://example.org", "license": "CC0-1.0"}
    world.manifest(
        "sources",
        "photos",
        **stated,
        layout="llava",
        records=["records.json"],
        files=files,
        images=["photos"],
    )


VARIANTS: dict[str, dict[str, Any]] = {
    "small": {},
    "other": {"seed": 8},
    "strict": {"limits": {"min_side_px": 31}},
    "later": {"images": "deferred"},
}


@pytest.fixture(scope="module")
def manifests(gallery: World) -> dict[str, Path]:
    return {name: publish_mixture(gallery, name) for name in VARIANTS}


def publish_mixture(world: World, name: str) -> Path:
    """Write the manifest of one variant; return its path."""
    world.build({"photos": IMAGES // 2}, name=name, **VARIANTS[name])
    return world.manifests / "mixtures" / f"{name}.yaml"


@pytest.fixture(scope="module")
def alone(gallery: World, manifests: dict[str, Path], tmp_path_factory: Any) -> dict[str, str]:
    """The digest of each mixture's folder, built in a separate data directory."""
    found = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("IMP_WORKERS", "1")
        for name, manifest in manifests.items():
            root = tmp_path_factory.mktemp(name)
            shutil.copytree(gallery.data.raw(""), root / "raw")
            digests(build_at(manifest, root))
            found[name] = tree_digest(root / "mixtures" / name)
    return found


@pytest.fixture
def root(gallery: World, tmp_path: Path) -> Path:
    shutil.copytree(gallery.data.raw(""), tmp_path / "data" / "raw")
    return tmp_path / "data"


def leftovers(root: Path) -> list[Path]:
    return [p for p in root.rglob("*") if p.name.endswith((".partial", ".part", ".journal"))]


@pytest.mark.slow
@pytest.mark.parametrize(
    "pair",
    [("small", "small"), ("small", "other"), ("small", "strict"), ("small", "later")],
    ids="-".join,
)
def test_two_concurrent_builds_end_with_the_bytes_of_each_alone(
    pair: tuple[str, str], root: Path, manifests: dict[str, Path], alone: dict[str, str]
) -> None:
    for process in [start(BUILD, manifests[name], IMP_DATA_DIR=str(root)) for name in pair]:
        output_of(process)
    for name in pair:
        assert tree_digest(root / "mixtures" / name) == alone[name]
        assert verify(root / "mixtures" / name) == []
        assert not built(digests_of(manifests[name], root))
    assert leftovers(root) == []


def digests_of(manifest: Path, root: Path) -> dict[str, Any]:
    return run(build_at(manifest, root))


def next_line(process: subprocess.Popen[str]) -> str:
    """Return the next line that a process prints to stderr."""
    assert process.stderr is not None
    return process.stderr.readline()


@pytest.mark.slow
@pytest.mark.parametrize(
    "asset", ["raw/photos", "records/photos", "images/photos", "mixture", "card"]
)
def test_a_run_waits_for_another_at_the_same_stage_and_names_it(
    asset: str, root: Path, manifests: dict[str, Path], alone: dict[str, str]
) -> None:
    lock = build_at(manifests["small"], root).run_of(asset).lock
    with hold_lock(lock, asset, "mixture other"):
        process = start(BUILD, manifests["small"], IMP_DATA_DIR=str(root))
        line = next_line(process)
        assert line.startswith(
            f"{asset}: waits for process {os.getpid()} on this machine (mixture other), "
            "running since 20"
        )
        assert process.poll() is None
    output_of(process)
    assert tree_digest(root / "mixtures" / "small") == alone["small"]


@pytest.mark.slow
def test_a_run_that_has_waited_does_not_repeat_the_work(
    root: Path, manifests: dict[str, Path], alone: dict[str, str]
) -> None:
    first = start(PAUSING + BUILD, manifests["small"], IMP_DATA_DIR=str(root))
    assert first.stdout is not None and first.stdout.readline() == "builds records\n"
    second = start(PAUSING + BUILD, manifests["small"], IMP_DATA_DIR=str(root))
    assert f"records/photos: waits for process {first.pid} on this machine" in next_line(second)
    output_of(first)
    out, _ = output_of(second)
    assert "builds records" not in out
    assert tree_digest(root / "mixtures" / "small") == alone["small"]


@pytest.mark.slow
def test_a_lock_of_a_killed_process_blocks_no_run(
    root: Path, manifests: dict[str, Path], alone: dict[str, str]
) -> None:
    lock = build_at(manifests["small"], root).run_of("records/photos").lock
    holder = start(HOLD, lock)
    assert holder.stdout is not None and holder.stdout.readline() == "held\n"
    waiting = start(BUILD, manifests["small"], IMP_DATA_DIR=str(root))
    assert f"waits for process {holder.pid}" in next_line(waiting)
    holder.send_signal(signal.SIGKILL)
    holder.communicate()
    assert f"process {holder.pid} on this machine (mixture other)" in (line := next_line(waiting))
    assert line.rstrip().endswith("was interrupted; the work starts again")
    output_of(waiting)
    assert tree_digest(root / "mixtures" / "small") == alone["small"]


def test_a_second_mixture_reuses_the_stages_that_do_not_depend_on_it(
    root: Path, manifests: dict[str, Path], one_worker: None
) -> None:
    first = digests_of(manifests["small"], root)
    second = digests_of(manifests["other"], root)
    assert built(first) == set(first)
    # The images stage reuses the fingerprints; the sample is another.
    assert built(second) == {
        *("images/photos", "screened/photos", "mixture", "duplicates", "card"),
    }
    data = DataDir(root)
    ours, theirs = (data.of(name).records("photos") for name in ("small", "other"))
    assert ours.samefile(theirs), "one file on disk"
    assert not built(digests_of(manifests["small"], root))
    assert not built(digests_of(manifests["other"], root))


def test_mixtures_with_other_limits_rebuild_nothing_of_each_other(
    root: Path, manifests: dict[str, Path], one_worker: None
) -> None:
    for name in VARIANTS:
        digests_of(manifests[name], root)
    assert not any(built(digests_of(manifests[name], root)) for name in VARIANTS)


def test_a_reused_file_is_repaired_for_both_mixtures(
    root: Path, manifests: dict[str, Path], one_worker: None
) -> None:
    for name in ("small", "other"):
        digests_of(manifests[name], root)
    data = DataDir(root)
    ours, theirs = (data.of(name).records("photos") for name in ("small", "other"))
    whole = file_sha256(ours)
    ours.write_bytes(b"damaged in place")  # the same file on disk as theirs
    for name in ("small", "other"):
        digests_of(manifests[name], root)
    assert file_sha256(ours) == file_sha256(theirs) == whole


class Slow(Handler):
    """Answers late, so that two runs would send a request at the same time."""

    def do_GET(self) -> None:
        time.sleep(0.5)
        super().do_GET()


@pytest.mark.slow
@pytest.mark.parametrize("pair", [("small", "small"), ("small", "other")], ids="-".join)
def test_two_runs_download_and_unpack_a_file_once(pair: tuple[str, str], tmp_path: Path) -> None:
    world = World(tmp_path / "published")
    lay_gallery(world, {}, count=4)
    records = (world.data.raw("photos") / "records.json").read_bytes()
    packed = BytesIO()
    with ZipFile(packed, "w") as archive:
        archive.writestr("records.json", records)
    with serving(Slow) as server:
        server.files["/records.zip"] = packed.getvalue()
        file = {"path": "records.zip", "url": f"{server.url}/records.zip"}
        publish(world, [{**file, "unpack": ["records.json"]}])
        manifests = {name: publish_mixture(world, name) for name in set(pair)}
        root = tmp_path / "data"
        shutil.copytree(world.data.raw("photos"), root / "raw" / "photos")
        (root / "raw" / "photos" / "records.json").unlink()
        for process in [start(BUILD, manifests[name], IMP_DATA_DIR=str(root)) for name in pair]:
            output_of(process)
    assert [path for path, _ in server.asked] == ["/records.zip"]
    assert (root / "raw" / "photos" / "records.json").read_bytes() == records
    assert leftovers(root) == []
    for name in pair:
        assert verify(root / "mixtures" / name) == []
        assert not built(digests_of(manifests[name], root))


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data directory whose world two processes drew at the same time."""
    root = tmp_path_factory.mktemp("drawn") / "data"
    demo = ROOT / "manifests" / "mixtures"
    pair = [
        start(DRAW, demo / f"{name}.yaml", IMP_DATA_DIR=str(root))
        for name in ("demo", "demo-cards")
    ]
    digests = {output_of(process)[0] for process in pair}
    assert len(digests) == 1
    return root


@pytest.mark.slow
def test_two_runs_that_draw_the_world_leave_it_complete(drawn: Path) -> None:
    build = Build(load_recipe(ROOT / "manifests" / "mixtures" / "demo.yaml"), DataDir(drawn))
    world = draw(build)
    assert not world.built
    on_disk = {
        path.relative_to(drawn / "raw").as_posix(): file_sha256(path)
        for path in (drawn / "raw").rglob("*")
        if path.is_file()
    }
    assert on_disk == world.figures["files"] and len(on_disk) == 40


@pytest.mark.slow
def test_concurrent_runs_may_be_the_first_of_a_dagster_instance(tmp_path: Path) -> None:
    settings = (ROOT / "dagster.yaml").read_text().replace(".dagster", f"{tmp_path}/.dagster")
    (tmp_path / "dagster.yaml").write_text(settings)
    script = "import dagster; print(dagster.DagsterInstance.get().get_runs())"
    own = {"DAGSTER_HOME": str(tmp_path)}
    for process in [start(script, **own) for _ in range(3)]:
        out, _ = output_of(process)
        assert out == "[]\n"


def test_the_settings_of_the_instance_name_only_installed_modules() -> None:
    settings = yaml.safe_load((ROOT / "dagster.yaml").read_text())
    modules = [value["module"] for value in nested_mappings(settings) if "module" in value]
    assert len(modules) > 1
    assert {name.split(".")[0] for name in modules} == {"dagster", "imp_data"}


def nested_mappings(value: Any) -> Iterator[dict[str, Any]]:
    """Yield a mapping and the mappings within it."""
    if isinstance(value, dict):
        yield value
        for inner in value.values():
            yield from nested_mappings(inner)


def test_two_writers_use_different_temporary_files(tmp_path: Path) -> None:
    path = tmp_path / "f"
    with write_atomically(path) as one, write_atomically(tmp_path / "g") as other:
        assert one != other and one.parent == tmp_path
        one.write_text("1")
        other.write_text("2")
    assert [p.name for p in sorted(tmp_path.iterdir())] == ["f", "g"]


def test_the_temporary_file_of_a_killed_process_is_deleted_by_the_next_write(
    tmp_path: Path,
) -> None:
    script = (
        "import os, signal, sys\nfrom pathlib import Path\n"
        "from imp_data.storage.atomic_write import write_atomically\n"
        "with write_atomically(Path(sys.argv[1])) as aside:\n"
        "    aside.write_text('half')\n    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    path = tmp_path / "f"
    start(script, path).communicate()
    (left,) = tmp_path.iterdir()
    mine = tmp_path / ".f.elsewhere-1-1.partial"
    mine.write_text("of a run on another machine, which may still write")
    with write_atomically(path) as aside:
        assert not left.exists() and mine.exists()
        aside.write_text("whole")
    week = time.time() - 8 * 24 * 3600
    os.utime(mine, (week, week))
    with write_atomically(path) as aside:
        aside.write_text("whole")
    assert [p.name for p in tmp_path.iterdir()] == ["f"]
