"""Ray on a real cluster of two nodes gives the bytes of the local engine, even if a node dies."""

import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import polars as pl
import pytest
from conftest import demo_with_world_of

from imp_data import parallel
from imp_data.errors import UserError
from imp_data.images import fingerprint_cache
from imp_data.parallel import map_ordered
from imp_data.pipeline.build import Build
from imp_data.pipeline.run_all import rebuild
from imp_data.storage.data_dir import DataDir
from imp_data.storage.digests import tree_digest

if find_spec("ray") is None:
    pytest.skip("Ray is not installed (pip install 'imp-data[ray]')", allow_module_level=True)

TESTS = Path(__file__).parents[1]


class TwoNodes:
    """A cluster of two nodes of one CPU each; one of them can be killed and replaced."""

    def __init__(self) -> None:
        from ray.cluster_utils import Cluster

        self._cluster = Cluster(initialize_head=True, head_node_args=self._size())
        self._second: Any = None
        self.address: str = self._cluster.address
        self.complete()

    def complete(self) -> None:
        if self._second is None:
            self._second = self._cluster.add_node(**self._size())

    @property
    def second(self) -> str:
        """The id of the node that can be killed."""
        return str(self._second.node_id)

    def kill_one(self) -> None:
        """Kill the node at once; otherwise its workers would finish their pieces."""
        raylet = self._second.all_processes["raylet"][0].process.pid
        workers = Path(f"/proc/{raylet}/task/{raylet}/children").read_text().split()
        for process in (raylet, *map(int, workers)):
            os.kill(process, signal.SIGKILL)
        self._cluster.remove_node(self._second, allow_graceful=False)
        self._second = None

    def shut_down(self) -> None:
        import ray

        ray.shutdown()
        self._cluster.shutdown()

    def _size(self) -> dict[str, Any]:
        return {"num_cpus": 1, "object_store_memory": 80 << 20, "include_dashboard": False}


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TwoNodes]:
    """Start it outside the repository: workers find imp_data and the tests by PYTHONPATH."""
    with (
        pytest.MonkeyPatch.context() as patch,
        # Not pytest's: the paths of Ray's sockets must be short.
        TemporaryDirectory(prefix="ray", ignore_cleanup_errors=True) as folder,
    ):
        patch.chdir(tmp_path_factory.mktemp("elsewhere"))
        patch.setenv("RAY_TMPDIR", folder)
        patch.setenv("PYTHONPATH", os.pathsep.join([str(TESTS.parent), str(TESTS)]))
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        # Ray listens on every interface; without the token nobody is heard.
        patch.setenv("RAY_AUTH_MODE", "token")
        patch.setenv("RAY_AUTH_TOKEN", secrets.token_hex(32))
        nodes = TwoNodes()
        patch.setenv("RAY_ADDRESS", nodes.address)
        try:
            yield nodes
        finally:
            nodes.shut_down()


@pytest.fixture
def nodes(cluster: TwoNodes, monkeypatch: pytest.MonkeyPatch) -> TwoNodes:
    """Restore the cluster and select it as the engine."""
    cluster.complete()
    monkeypatch.setenv("IMP_ENGINE", "ray")
    return cluster


def node_of(number: int, seconds: float = 0.05) -> tuple[int, str]:
    import ray

    time.sleep(seconds)
    return number, ray.get_runtime_context().get_node_id()


def noted(number: int, notes: Path) -> int:
    """Write start, node and end of a piece to a file."""
    import ray

    node = ray.get_runtime_context().get_node_id()
    note = notes / f"{number} {node} {secrets.token_hex(4)}"
    note.touch()
    time.sleep(0.3)
    note.rename(f"{note} done")
    return number


def busy(node: str, notes: Path) -> bool:
    """Return whether that node is running a piece."""
    return any(node in path.name and "done" not in path.name for path in notes.iterdir())


def refuse_three(number: int) -> int:
    if number == 3:
        raise UserError("f.json", "is damaged", "mend it")
    return number


def crash_at_three(number: int) -> int:
    if number == 3:
        os.kill(os.getpid(), signal.SIGSEGV)
    return number


@pytest.mark.slow
def test_both_nodes_work_and_results_are_in_order(nodes: TwoNodes) -> None:
    results = list(map_ordered(node_of, range(30)))
    assert [number for number, _ in results] == list(range(30))
    assert len({node for _, node in results}) == 2


def test_at_most_two_pieces_per_cpu_are_in_progress(nodes: TwoNodes) -> None:
    taken: list[int] = []

    def pieces() -> Iterator[int]:
        for number in range(100):
            taken.append(number)
            yield number

    results = map_ordered(abs, pieces())
    for done in range(1, 20):
        next(results)
        assert len(taken) <= done + 4


def test_an_error_reaches_the_caller(nodes: TwoNodes) -> None:
    results = map_ordered(refuse_three, range(10))
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(UserError) as error:
        next(results)
    assert type(error.value) is UserError
    assert str(error.value) == "f.json: is damaged\n  What to do: mend it"


@pytest.mark.slow
def test_the_pieces_of_a_killed_node_run_again_on_the_other(
    nodes: TwoNodes, tmp_path: Path
) -> None:
    results = map_ordered(partial(noted, notes=tmp_path), range(24))
    found = []
    killed = False
    for number in results:
        found.append(number)
        if not killed and busy(nodes.second, tmp_path):
            nodes.kill_one()
            killed = True
    assert killed
    assert found == list(range(24))
    calls = [path.name.split()[0] for path in tmp_path.iterdir()]
    ended = [path.name.split()[0] for path in tmp_path.iterdir() if "done" in path.name]
    assert sorted(map(int, ended)) == list(range(24))
    assert len(calls) == 25


@pytest.mark.slow
def test_a_piece_that_crashes_every_worker_affects_no_other(nodes: TwoNodes) -> None:
    found = list(map_ordered(crash_at_three, range(8), on_crash=lambda piece, _: -piece))
    assert found == [0, 1, 2, -3, 4, 5, 6, 7]


def test_a_node_with_other_software_is_refused(
    nodes: TwoNodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    versions = {"pillow": "1.7.8"}
    monkeypatch.setattr(parallel.ray, "library_versions", lambda *names: versions)
    parallel.ray._software.cache_clear()
    try:
        with pytest.raises(UserError) as error:
            list(map_ordered(abs, range(4)))
    finally:
        parallel.ray._software.cache_clear()
    assert "in place of 1.7.8" in error.value.problem


def test_workers_that_lack_the_code_are_an_error(
    nodes: TwoNodes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "only_here.py").write_text("def twice(number): return 2 * number")
    monkeypatch.syspath_prepend(tmp_path)
    twice = import_module("only_here").twice
    with pytest.raises(UserError, match=r"No module named 'only_here'") as error:
        list(map_ordered(twice, range(4)))
    assert error.value.remedy.startswith("install the same release on every node")


def digests(build: Build) -> dict[str, str]:
    """Return the digest of every asset of a finished build."""
    return {asset: result.digest for asset, result in rebuild(build).items()}


def assert_same(one: Build, other: Build) -> None:
    assert digests(one) == digests(other)
    assert tree_digest(one.data.mixture("demo")) == tree_digest(other.data.mixture("demo"))


@pytest.mark.slow
def test_the_demo_has_the_same_digests_on_ray(
    nodes: TwoNodes,
    drawn_demo: DataDir,
    built_demo: Build,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("IMP_ENGINE")
    recipe = demo_with_world_of(drawn_demo, tmp_path / "data").recipe
    on_ray = recipe.mixture.model_copy(update={"engine": "ray"})
    build = Build(recipe.model_copy(update={"mixture": on_ray}), DataDir(tmp_path / "data"))
    assert rebuild(build)["mixture"].built
    assert_same(build, built_demo)


@pytest.mark.slow
def test_a_node_killed_while_it_reads_images_changes_nothing(
    nodes: TwoNodes,
    drawn_demo: DataDir,
    built_demo: Build,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kills: list[int] = []

    def with_a_kill(*args: Any, **options: Any) -> Iterator[Any]:
        for number, result in enumerate(map_ordered(*args, **options)):
            yield result
            if number == 2 and not kills:
                nodes.kill_one()
                kills.append(number)

    monkeypatch.setattr(fingerprint_cache, "map_ordered", with_a_kill)
    build = demo_with_world_of(drawn_demo, tmp_path / "data")
    rebuild(build)
    assert kills == [2]
    assert_same(build, built_demo)
    ledger = pl.read_parquet(build.data.mixture("demo") / "ledger.parquet")
    read = sum(build.figures(f"records/{s}")["rows"] for s in build.recipe.sources)
    assert len(ledger) == len(ledger.unique(["source", "ordinal"])) == read
    assert build.figures("mixture")["rows"] == 1056
    for source in build.recipe.sources:
        images = pl.read_parquet(build.data.fingerprints(build.name, source))["image"]
        assert images.is_unique().all()


def engine_elsewhere(home: Path, **settings: str) -> subprocess.CompletedProcess[str]:
    """Run the engine in a subprocess without a cluster or a token."""
    code = (
        "from imp_data.parallel import map_ordered\n"
        "if __name__ == '__main__': print(list(map_ordered(abs, range(-3, 3))))"
    )
    told = {k: v for k, v in os.environ.items() if k == "RAY_TMPDIR" or not k.startswith("RAY_")}
    told |= {"HOME": str(home), "PYTHONPATH": str(TESTS.parent), "IMP_ENGINE": "ray", **settings}
    command = [sys.executable, "-c", code]
    return subprocess.run(command, cwd=home, env=told, capture_output=True, text=True)


@pytest.mark.slow
def test_without_an_address_a_local_ray_is_started(tmp_path: Path) -> None:
    done = engine_elsewhere(tmp_path, IMP_WORKERS="1")
    assert (done.returncode, done.stdout) == (0, "[3, 2, 1, 0, 1, 2]\n"), done.stderr


@pytest.mark.parametrize("address", ["127.0.0.1:9", "no-such-host.invalid:6379", "nonsense"])
def test_an_address_without_a_cluster_is_named_at_once(address: str, tmp_path: Path) -> None:
    done = engine_elsewhere(tmp_path, RAY_ADDRESS=address)
    assert done.returncode == 1
    assert f"UserError: RAY_ADDRESS: cannot join a cluster at {address} (" in done.stderr
