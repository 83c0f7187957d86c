"""Dagster's storage on a real PostgreSQL, with the settings in deploy/."""

import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

import dagster as dg
import pytest
import yaml
from conftest import link_world

from imp_data.storage.data_dir import DataDir

ROOT = Path(__file__).parents[2]
PROGRAMS = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
PASSWORD = "a word with : and @ and /"

pytestmark = [
    pytest.mark.skipif(not PROGRAMS, reason="no PostgreSQL here (Debian's package postgresql)"),
    pytest.mark.skipif(
        find_spec("dagster_postgres") is None,
        reason="dagster-postgres is not installed (pip install 'imp-data[server]')",
    ),
]


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


@pytest.fixture(scope="module")
def postgres() -> Iterator[dict[str, str]]:
    """Start a server on loopback with a password; return its environment variables."""
    port, programs = free_port(), PROGRAMS[-1].parent
    # It refuses to run as root.
    owner = pwd.getpwnam("nobody") if os.getuid() == 0 else pwd.getpwuid(os.getuid())
    rights = {"user": owner.pw_uid, "group": owner.pw_gid} if os.getuid() == 0 else {}
    with TemporaryDirectory(prefix="pg") as name:
        folder = Path(name)
        (folder / "password").write_text(PASSWORD)
        for path in (folder, folder / "password"):
            os.chown(path, owner.pw_uid, owner.pw_gid)
        data = folder / "data"
        make = [programs / "initdb", "-D", data, "-U", "imp", "-A", "scram-sha-256", "--no-sync"]
        make += ["--encoding=UTF8", "--locale=C", f"--pwfile={folder / 'password'}"]
        subprocess.run(make, check=True, cwd=folder, capture_output=True, **rights)
        serve = [programs / "postgres", "-D", data, "-p", str(port), "-k", folder, "-F"]
        serve += ["-c", "listen_addresses=127.0.0.1"]
        with (folder / "log").open("w") as log:
            server = subprocess.Popen(serve, cwd=folder, stdout=log, stderr=log, **rights)
        try:
            ready = [programs / "pg_isready", "-h", "127.0.0.1", "-p", str(port), "-t", "1"]
            while subprocess.run(ready, capture_output=True, check=False).returncode:
                assert server.poll() is None, (folder / "log").read_text()
            yield {
                "DAGSTER_PG_HOST": "127.0.0.1",
                "DAGSTER_PG_PORT": str(port),
                "DAGSTER_PG_DB": "postgres",
                "DAGSTER_PG_USER": "imp",
                "DAGSTER_PG_PASSWORD": PASSWORD,
            }
        finally:
            server.send_signal(signal.SIGINT)  # fast shutdown, with clients connected
            server.wait(timeout=30)


@pytest.fixture
def home(
    postgres: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Path]:
    """Return a DAGSTER_HOME with the settings in deploy/."""
    folder = tmp_path / "home"
    folder.mkdir()
    shutil.copy(ROOT / "deploy" / "dagster.yaml", folder)
    for name, value in {**postgres, "DAGSTER_HOME": str(folder)}.items():
        monkeypatch.setenv(name, value)
    yield folder


@pytest.mark.slow
def test_the_curate_job_of_the_demo_runs_on_postgres(
    home: Path, drawn_demo: DataDir, tmp_path: Path
) -> None:
    from dagster_postgres import PostgresEventLogStorage

    link_world(drawn_demo, tmp_path / "data")
    dg_command = Path(sys.executable).with_name("dg")
    settings = {**os.environ, "IMP_DATA_DIR": str(tmp_path / "data")}
    settings.pop("IMP_MIXTURE", None)
    settings["PATH"] = f"{dg_command.parent}{os.pathsep}{settings['PATH']}"
    command = [dg_command, "launch", "--job", "curate"]
    launched = subprocess.run(command, cwd=ROOT, env=settings, capture_output=True, text=True)
    assert launched.returncode == 0, launched.stdout + launched.stderr

    with dg.DagsterInstance.from_config(str(home)) as instance:
        assert isinstance(instance.event_log_storage, PostgresEventLogStorage)
        (run,) = instance.get_runs()
        assert (run.job_name, run.status) == ("curate", dg.DagsterRunStatus.SUCCESS)
        keys = {key.to_user_string() for key in instance.get_asset_keys()}
        boxes = ("records/dvqa", "images/dvqa", "screened/dvqa", "mixture")
        assert {"drawn/world", *(f"demo/{box}" for box in boxes)} <= keys
        for key in keys:
            event = instance.get_latest_materialization_event(dg.AssetKey.from_user_string(key))
            assert event is not None
        mixture = instance.get_latest_materialization_event(dg.AssetKey(["demo", "mixture"]))
        assert mixture is not None and mixture.asset_materialization is not None
        assert mixture.asset_materialization.metadata["dagster/row_count"].value == 1056
    assert not list(home.rglob("*.db"))


def test_one_run_at_a_time_and_no_telemetry(home: Path) -> None:
    with dg.DagsterInstance.from_config(str(home)) as instance:
        assert instance.get_concurrency_config().run_queue_config.max_concurrent_runs == 1
        assert instance.run_monitoring_max_runtime_seconds == 3 * 24 * 3600
        assert not instance.telemetry_enabled


def test_both_settings_of_dagster_agree_except_for_the_storage() -> None:
    local, server = (
        yaml.safe_load((ROOT / path).read_text())
        for path in ("dagster.yaml", "deploy/dagster.yaml")
    )
    for name in ("python_logs", "telemetry", "nux"):
        assert local[name] == server[name]
    assert local["concurrency"]["runs"] == server["concurrency"]["runs"]
