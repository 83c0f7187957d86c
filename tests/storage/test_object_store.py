"""A data directory in an object store has the bytes of a local build, or causes an error."""

import io
import json
import logging
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from threading import Thread
from typing import Any

import httpx
import pytest
from conftest import ALBUM_QUOTAS, ALBUM_RULES, World, built, lay_album, run
from hypothesis import given
from hypothesis import strategies as st
from test_cli import Ran

from imp_data.errors import UserError
from imp_data.images.reader import DamagedMember, ImageReader, TooManyBytes
from imp_data.manifests import ImageFolder
from imp_data.mixture.verify import verify
from imp_data.pipeline.build import Build
from imp_data.pipeline.run_all import rebuild
from imp_data.storage import range_reader
from imp_data.storage.atomic_write import write_atomically
from imp_data.storage.data_dir import DataDir
from imp_data.storage.digests import file_sizes, tree_digest
from imp_data.storage.locks import hold_lock
from imp_data.storage.object_store import exists, upload_folder
from imp_data.storage.paths import parse_path, scratch_path
from imp_data.storage.range_reader import open_file, read_object
from tests.records.test_record_files import CAPTIONS, IMAGES, lines, parquet, table, tar
from tests.records.test_record_files import source as record_source

if find_spec("s3fs") is None or find_spec("moto") is None:
    pytest.skip("s3fs or moto is not installed (pip install 'imp-data[dev]')", True)

TESTS = Path(__file__).parents[1]
DEMO = TESTS.parent / "manifests" / "mixtures" / "demo.yaml"
SECRET = "a-secret-that-belongs-nowhere"
BUCKET = "s3://imp"


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[pytest.MonkeyPatch]:
    """Set credentials and this test's scratch folder as a user would."""
    import s3fs

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ACCESS_KEY_ID", "somebody")
        patch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        patch.setenv("AWS_CONFIG_FILE", os.devnull)
        patch.setenv("NO_PROXY", "127.0.0.1")
        patch.setenv("IMP_SCRATCH", str(tmp_path_factory.mktemp("scratch")))
        s3fs.S3FileSystem.clear_instance_cache()
        yield patch
        s3fs.S3FileSystem.clear_instance_cache()


@pytest.fixture(scope="module")
def server(settings: pytest.MonkeyPatch) -> Iterator[str]:
    """Start an S3 server on loopback with an empty bucket; yield its address."""
    import s3fs
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    moto = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    moto.start()
    host, port = moto.get_host_and_port()
    settings.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
    # A worker that comes back to this file has the server of before in its memory.
    httpx.post(f"http://{host}:{port}/moto-api/reset").raise_for_status()
    s3fs.S3FileSystem().mkdir("imp")
    yield f"http://{host}:{port}"
    moto.stop()


@pytest.fixture
def requests(server: str, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, dict[str, Any]]]:
    """Record every later request to the server with its arguments."""
    import s3fs

    asked: list[tuple[str, dict[str, Any]]] = []
    call = s3fs.S3FileSystem._call_s3

    async def noted(self: Any, method: str, *args: Any, **fields: Any) -> Any:
        asked.append((method, fields))
        return await call(self, method, *args, **fields)

    monkeypatch.setattr(s3fs.S3FileSystem, "_call_s3", noted)
    return asked


@pytest.fixture(scope="module")
def far(server: str) -> Build:
    """Draw and build the demo in the store.

    In a process of its own: workers that other tests have started know no credentials.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("IMP_DATA_DIR", f"{BUCKET}/some/demo")
        patch.setenv("PYTHONPATH", str(TESTS.parent))
        subprocess.run([sys.executable, "-c", REBUILD_DEMO, DEMO], check=True)
        return Build.of(DEMO)


REBUILD_DEMO = """
import sys
from pathlib import Path
from imp_data.pipeline.build import Build
from imp_data.pipeline.run_all import rebuild

if __name__ == "__main__":
    rebuild(Build.of(Path(sys.argv[1])))
"""


def digests(build: Build) -> dict[str, str]:
    """Return the digests of all assets of a finished build, which builds nothing again."""
    results = rebuild(build)
    assert built(results) == set()
    return {asset: result.digest for asset, result in results.items()}


@pytest.mark.slow
def test_all_stages_and_files_equal_those_of_a_local_build(far: Build, built_demo: Build) -> None:
    assert digests(far) == digests(built_demo)
    folders = [build.data.mixture("demo") for build in (far, built_demo)]
    manifests = [json.loads((folder / "mixture.json").read_text()) for folder in folders]
    assert manifests[0] == manifests[1]
    assert manifests[0]["rows"] == 1056
    assert tree_digest(folders[0]) == tree_digest(folders[1])
    assert verify(folders[0]) == []


@pytest.mark.slow
def test_no_written_file_contains_urls_or_secrets(far: Build) -> None:
    stamps = [far.data.root / ".stamps" / name for name in file_sizes(far.data.root / ".stamps")]
    assert len(stamps) > 50
    for path in (*stamps, far.data.mixture("demo") / "mixture.json"):
        text = path.read_text()
        assert "s3:" not in text
        assert SECRET not in text


@pytest.mark.slow
def test_the_scratch_folder_is_empty_after_a_build(far: Build) -> None:
    assert list(scratch_path(far.data.root).parent.iterdir()) == []


@pytest.mark.slow
def test_the_mixture_opens_with_datasets(far: Build) -> None:
    from datasets import load_from_disk

    assert len(load_from_disk(str(far.data.mixture("demo")))) == 1056


def small(root: Path, url: str) -> tuple[World, Build]:
    """Return the album's build with its data at a URL."""
    world = World(root)
    world.data = DataDir(parse_path(url))
    lay_album(world)
    return world, world.build(ALBUM_QUOTAS, **ALBUM_RULES)


@pytest.mark.usefixtures("one_worker")
def test_a_build_in_memory_has_the_bytes_of_one_on_disk(album: Path, tmp_path: Path) -> None:
    _, build = small(tmp_path, f"memory://{tmp_path}")
    run(build)
    assert tree_digest(build.data.mixture("small")) == tree_digest(album)
    assert built(run(build)) == set()


@pytest.mark.usefixtures("one_worker")
def test_shards_for_a_store_are_assembled_on_the_machine_that_has_them(
    album: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: set[str] = set()

    def on_ray(function: Any, pieces: Any, *_: Any) -> Any:
        asked.add(getattr(function, "func", function).__name__)
        return map(function, pieces)

    monkeypatch.setattr("imp_data.parallel.ray.map_on_ray", on_ray)
    monkeypatch.setenv("IMP_ENGINE", "ray")
    _, build = small(tmp_path, "memory://elsewhere")
    rebuild(build)
    assert asked >= {"process_chunk", "_screen_batches", "_read_shard"}
    assert not asked & {"_scatter", "_assemble"}
    assert tree_digest(build.data.mixture("small")) == tree_digest(album)


def test_a_file_url_is_a_folder_of_this_machine(tmp_path: Path) -> None:
    assert parse_path(f"file://{tmp_path}") == tmp_path


REBUILD = """
import os, signal, sys
from pathlib import Path
import s3fs
from imp_data.pipeline.build import Build
from imp_data.pipeline.run_all import rebuild

last = sys.argv[2]
put = s3fs.S3FileSystem._put_file

async def put_or_die(self, lpath, rpath, *args, **kwargs):
    if last and last in str(rpath):
        os.kill(os.getpid(), signal.SIGKILL)
    await put(self, lpath, rpath, *args, **kwargs)

s3fs.S3FileSystem._put_file = put_or_die
if __name__ == "__main__":
    rebuild(Build.of(Path(sys.argv[1])))
"""


def rebuilt(manifest: Path, url: str, last: str = "", **settings: str) -> int:
    """Build in a subprocess that is killed before it uploads the file `last`; return its status."""
    told = {**os.environ, "IMP_DATA_DIR": url, "IMP_WORKERS": "1", **settings}
    told["PYTHONPATH"] = str(TESTS.parent)
    return subprocess.run([sys.executable, "-c", REBUILD, manifest, last], env=told).returncode


MIXTURE = [
    *("README.md", "data-00000-of-00003.arrow", "data-00001-of-00003.arrow"),
    *("data-00002-of-00003.arrow", "dataset_info.json", "ledger.parquet", "mixture.json"),
    "state.json",
]


@pytest.mark.slow
@pytest.mark.usefixtures("one_worker")
def test_a_build_killed_again_and_again_ends_with_the_same_bytes(
    server: str, album: Path, tmp_path: Path
) -> None:
    url = f"{BUCKET}/killed"
    world, build = small(tmp_path, url)
    manifest, mixture = world.manifests / "mixtures" / "small.yaml", build.data.mixture("small")
    # Between the two files of a stage.
    assert rebuilt(manifest, url, "killed/records/small/") == -signal.SIGKILL
    assert list(file_sizes(build.data.root / "ledger" / "small")) == ["captions.parquet"]
    assert file_sizes(build.data.root / "records" / "small") == {}
    # When all of the mixture is there but its mixture.json.
    manifest_file = "killed/mixtures/small/mixture.json"
    assert rebuilt(manifest, url, manifest_file) == -signal.SIGKILL
    assert list(file_sizes(mixture)) == sorted(set(MIXTURE) - {"mixture.json", "README.md"})
    with pytest.raises(UserError, match=r"holds no mixture\.json"):
        verify(mixture)
    # When it is whole, but nothing says yet that the stage is finished.
    assert rebuilt(manifest, url, ".stamps/mixtures/small/mixture.json") == -signal.SIGKILL
    assert verify(mixture) == []
    assert built(rebuild(build)) == {"mixture", "duplicates", "card"}
    assert list(file_sizes(mixture)) == MIXTURE
    assert tree_digest(mixture) == tree_digest(album)
    # While another mixture takes its place.
    other = world.build({**ALBUM_QUOTAS, "photos": 5}, **ALBUM_RULES)
    assert rebuilt(manifest, url, manifest_file) == -signal.SIGKILL
    assert "mixture.json" not in file_sizes(mixture)
    assert "mixture" in built(rebuild(other))
    assert verify(mixture) == []
    assert "data-00002-of-00003.arrow" not in file_sizes(mixture)
    assert list(scratch_path(mixture).parent.iterdir()) == []


@pytest.mark.slow
@pytest.mark.skipif(find_spec("ray") is None, reason="Ray is not installed")
def test_workers_on_ray_read_from_the_store(server: str, album: Path, tmp_path: Path) -> None:
    world, build = small(tmp_path, f"{BUCKET}/ray")
    manifest = world.manifests / "mixtures" / "small.yaml"
    assert rebuilt(manifest, f"{BUCKET}/ray", IMP_ENGINE="ray", RAY_ADDRESS="") == 0
    assert tree_digest(build.data.mixture("small")) == tree_digest(album)


@pytest.fixture
def mixture(server: str, album: Path, tmp_path: Path) -> Path:
    """Copy the album to the store."""
    folder = parse_path(f"{BUCKET}/copies/{tmp_path.name}")
    upload_folder(album, folder, "mixture.json")
    return folder


def test_the_commands_take_a_url(mixture: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sound = Ran(capsys, "verify", mixture)
    assert (sound.status, sound.err) == (0, "")
    assert sound.out.startswith(f"{mixture}: whole and unaltered, 11 samples, ")
    life = Ran(capsys, "explain", "4", "--mixture", mixture)
    assert "kept: sample" in life.out and "gpt: Number 4." in life.out
    same = Ran(capsys, "diff", mixture, mixture)
    assert same.out == "No record changed its outcome.\n"


def test_a_flipped_byte_in_an_object_is_found(
    mixture: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shard = mixture / "data-00001-of-00003.arrow"
    data = bytearray(shard.read_bytes())
    data[len(data) // 2] ^= 1
    shard.write_bytes(bytes(data))
    ran = Ran(capsys, "verify", mixture)
    assert ran.status == 1
    assert ran.err.startswith(f"{shard}: its bytes were altered: sha256 differs\n")


@pytest.mark.slow
@pytest.mark.usefixtures("one_worker")
def test_an_output_that_was_replaced_is_built_again(server: str, tmp_path: Path) -> None:
    _, build = small(tmp_path, f"{BUCKET}/replaced")
    run(build)
    build.data.screened("small", "photos").write_bytes(b"something else")
    assert built(run(build)) == {"screened/photos"}


def refused(build: Build) -> UserError:
    with pytest.raises(UserError) as error:
        build.raw("chats")
    return error.value


@pytest.fixture
def anew(server: str) -> Iterator[None]:
    """Open new connections now, and again after the test."""
    import s3fs

    s3fs.S3FileSystem.clear_instance_cache()
    yield
    s3fs.S3FileSystem.clear_instance_cache()


def lost(tmp_path: Path, url: str) -> Build:
    """Return a build of the album's manifests with its data elsewhere."""
    world = World(tmp_path)
    lay_album(world)
    world.data = DataDir(parse_path(url))
    return world.build(ALBUM_QUOTAS, **ALBUM_RULES)


def test_a_missing_bucket_is_an_error_before_any_work(server: str, tmp_path: Path) -> None:
    error = refused(lost(tmp_path, "s3://no-such-bucket/data"))
    assert error.where.startswith("s3://no-such-bucket/data/.stamps/mixtures/small/raw/")
    assert error.problem == "cannot be written (The specified bucket does not exist)"
    assert error.remedy.startswith("create the bucket or correct IMP_DATA_DIR")


def test_denied_access_is_an_error_that_says_so(
    server: str, anew: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from urllib.request import Request, urlopen

    def let_in(first: bytes) -> None:
        """The number of requests that moto answers before it checks credentials."""
        plain = {"Content-Type": "text/plain"}
        urlopen(Request(f"{server}/moto-api/reset-auth", first, plain)).close()

    build = lost(tmp_path, f"{BUCKET}/closed")
    let_in(b"0")
    try:
        error = refused(build)
        ran = Ran(capsys, "verify", f"{BUCKET}/closed/mixtures/small")
    finally:
        let_in(b"inf")
    assert error.where == f"{BUCKET}/closed/.stamps/mixtures/small/raw/chats.json"
    assert error.problem.startswith("access is denied (")
    assert "AWS_ACCESS_KEY_ID" in error.remedy
    assert SECRET not in str(error)
    assert ran.status == 1
    assert f"{BUCKET}/closed/mixtures/small/mixture.json: access is denied (" in ran.err


def test_a_store_that_does_not_respond_is_named(
    anew: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    error = refused(lost(tmp_path, f"{BUCKET}/down"))
    assert error.where == f"{BUCKET}/down/.stamps/mixtures/small/raw/chats.json"
    assert error.problem.startswith("the store does not respond (")
    assert "http://127.0.0.1:9" in error.problem


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("gs://bucket/data", "needs a package that is not installed"),
        ("nosuch://bucket/data", "is no URL that fsspec knows"),
    ],
)
def test_a_url_that_cannot_be_used_is_named(
    url: str, problem: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "gcsfs", None)
    monkeypatch.setenv("IMP_DATA_DIR", url)
    with pytest.raises(UserError, match=problem) as error:
        Build.of(DEMO)
    assert error.value.where == url


@given(
    data=st.binary(max_size=60),
    moves=st.lists(st.tuples(st.integers(0, 70), st.integers(0, 70)), max_size=8),
)
def test_an_object_has_the_bytes_of_the_file_at_any_offset(
    data: bytes, moves: list[tuple[int, int]]
) -> None:
    path = parse_path("memory://pieces/object")
    path.write_bytes(data)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(range_reader, "BLOCK_BYTES", 7)
        with open_file(path) as there, io.BytesIO(data) as here:
            for position, size in moves:
                assert there.seek(position) == here.seek(position)
                assert there.read(size) == here.read(size)
                assert there.tell() == here.tell()


def test_an_image_in_a_zip_takes_one_request_of_its_own_size(
    server: str, requests: list[tuple[str, dict[str, Any]]]
) -> None:
    rng_bytes = {f"{n}.png": os.urandom(300_000) for n in range(40)}
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, content in rng_bytes.items():
            archive.writestr(name, content)
    root = parse_path(f"{BUCKET}/zipped")
    (root / "raw" / "birds" / "b.zip").write_bytes(packed.getvalue())
    requests.clear()
    birds = ImageReader(
        root / "images", root / "raw", (("birds", ImageFolder(path="birds", file="b.zip")),)
    )
    asked = [f"birds/{n}.png" for n in (3, 14, 15, 9, 26)]
    images = birds.prefetch(asked, 1 << 20)
    for name in asked:
        assert images.read(name, 1 << 20) == rng_bytes[name.removeprefix("birds/")]
    asked_for = [fields["Range"] for method, fields in requests if method == "get_object"]
    sizes = [int(end) - int(start) for start, end in (r[6:].split("-") for r in asked_for)]
    # Five images, and the end of the zip with its directory.
    assert len(asked_for) == 6
    assert sum(sizes) < 5 * 301_000 + range_reader.BLOCK_BYTES


def test_a_damaged_image_is_distinguished_from_a_failing_store(
    server: str, requests: list[tuple[str, dict[str, Any]]]
) -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("far.png", b"an image")
    content = packed.getvalue()
    # The directory's word on where the member begins, which is beyond the end.
    where = content.index(b"PK\1\2") + 42
    root = parse_path(f"{BUCKET}/wrong")
    (root / "raw/birds/b.zip").write_bytes(content[:where] + b"\xff\xff\0\0" + content[where + 4 :])
    (root / "images/birds/empty.png").write_bytes(b"")
    (root / "images/birds/large.png").write_bytes(b"1234567")
    birds = ImageReader(
        root / "images", root / "raw", (("birds", ImageFolder(path="birds", file="b.zip")),)
    )
    assert birds.read("birds/empty.png", 6) == b""
    assert birds.read("birds/large.png", 7) == b"1234567"
    with pytest.raises(TooManyBytes):
        birds.read("birds/large.png", 6)
    with pytest.raises(DamagedMember):
        birds.read("birds/far.png", 100)
    for missing in ("birds/gone.png", "birds/" + "o" * 2000, "elsewhere/gone.png"):
        with pytest.raises(FileNotFoundError):
            birds.read(missing, 100)
    fetched = [fields["Range"] for method, fields in requests if method == "get_object"]
    assert "bytes=0-6" in fetched  # one byte more than allowed tells enough


def test_a_folder_in_a_store_holds_only_what_was_written_last(tmp_path: Path) -> None:
    folder = parse_path(f"memory://{tmp_path}/folder")
    for names in (["a", "b/c", "last"], ["b/c", "d", "last"]):
        with write_atomically(folder, last="last") as aside:
            for name in names:
                (aside / name).parent.mkdir(parents=True, exist_ok=True)
                (aside / name).write_text(f"{names}")
        assert list(file_sizes(folder)) == names
        assert (folder / names[0]).read_text() == f"{names}"


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_an_unfinished_file_is_never_uploaded(error: type[BaseException], tmp_path: Path) -> None:
    path = parse_path(f"memory://{tmp_path}/file.txt")
    path.write_text("old")
    with pytest.raises(error), write_atomically(path) as aside:
        aside.write_text("ne")
        raise error
    assert path.read_text() == "old"
    assert not aside.exists()


def test_files_are_listed_in_the_order_of_paths_on_disk_and_in_a_store(tmp_path: Path) -> None:
    here, there = tmp_path / "here", parse_path(f"memory://{tmp_path}/there")
    for root in (here, there):
        for name in ("a/b", "a.b", "a-b/c", "B"):
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text(name)
    assert list(file_sizes(here)) == list(file_sizes(there)) == ["B", "a/b", "a-b/c", "a.b"]
    assert tree_digest(here) == tree_digest(there)


def test_a_scratch_path_is_below_imp_scratch_and_equal_for_each_attempt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IMP_SCRATCH", str(tmp_path / "here"))
    target = parse_path(f"{BUCKET}/data/records/dvqa.arrow")
    assert scratch_path(target) == scratch_path(target)
    assert scratch_path(target).parent == tmp_path / "here"
    assert scratch_path(target) != scratch_path(parse_path(f"{BUCKET}/other/records/dvqa.arrow"))
    shutil.rmtree(tmp_path / "here")


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Set locks to be renewed, polled and expired within a second."""
    for name, seconds in {"RENEW": 0.2, "EXPIRE": 1.0, "POLL": 0.05, "SETTLE": 0.1}.items():
        monkeypatch.setattr(f"imp_data.storage.object_lock._{name}_SECONDS", seconds)


def holder_of(lock: Path) -> dict[str, Any]:
    # By one request: between two the lock may be renewed.
    content: dict[str, Any] = json.loads(read_object(lock))
    return content


def test_a_lock_in_a_store_is_renewed_awaited_and_removed(
    server: str, hasty: None, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    lock = parse_path(f"{BUCKET}/locks/{tmp_path.name}.lock")
    order: list[str] = []

    def second() -> None:
        with hold_lock(lock, "records/chats", "mixture second"):
            order.append("second")

    waiting = Thread(target=second)
    with hold_lock(lock, "records/chats", "mixture first"):
        waiting.start()
        time.sleep(2)  # longer than a lock that nobody renews is respected
        order.append("first")
        assert holder_of(lock)["for"] == "mixture first"
    waiting.join(20)
    assert order == ["first", "second"]
    assert not exists(lock)
    line = (
        f"records/chats: waits for process {os.getpid()} on this machine (mixture first), running"
    )
    assert capfd.readouterr().err.count(line) == 1


@pytest.mark.parametrize("host", ["elsewhere", socket.gethostname()])
def test_an_expired_lock_in_a_store_is_taken_over(
    host: str, server: str, hasty: None, tmp_path: Path
) -> None:
    lock = parse_path(f"{BUCKET}/locks/{tmp_path.name}.lock")
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    told = {"pid": gone.pid, "host": host, "for": "", "since": "2026-01-01 00:00:00", "token": "x"}
    lock.write_bytes(json.dumps(told).encode())
    with hold_lock(lock, "records/chats"):
        assert holder_of(lock)["pid"] == os.getpid()
    assert not exists(lock)


def test_a_run_whose_lock_was_taken_over_ends_with_an_error(
    server: str, hasty: None, tmp_path: Path
) -> None:
    lock = parse_path(f"{BUCKET}/locks/{tmp_path.name}.lock")
    told = {"pid": 1, "host": "elsewhere", "for": "", "since": "now", "token": "x"}
    with pytest.raises(UserError) as error, hold_lock(lock, "records/chats"):
        lock.write_bytes(json.dumps(told).encode())
    assert error.value.problem == ("expired and was taken over by process 1 on elsewhere")
    assert holder_of(lock) == told


@pytest.mark.slow
@pytest.mark.usefixtures("one_worker")
def test_images_in_files_of_records_are_read_in_the_store(server: str, tmp_path: Path) -> None:
    world = World(tmp_path)
    files = {
        "table": ("a.parquet", parquet(table(IMAGES), row_group_size=2), {}),
        "web": ("0.tar", tar({"0.png": IMAGES[0], "0.txt": b"A thing."}), CAPTIONS),
        "lines": ("a.jsonl", lines(table(IMAGES[:2], "base64")), {}),
    }
    for name, (file, content, fields) in files.items():
        record_source(world, name, file, content, **fields)
    build = world.build({"table": 6, "web": 1, "lines": 2})
    place = parse_path(f"{BUCKET}/embedded")
    upload_folder(world.data.raw(""), place / "raw", "web/0.tar")
    results = run(Build(build.recipe, DataDir(place, "small")))
    assert results["mixture"].digest == run(build)["mixture"].digest
    assert results["mixture"].figures["rows"] == 9
