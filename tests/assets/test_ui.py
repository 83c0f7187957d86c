"""The Dagster UI in a headless browser: materialize all, and read the mixture's counts."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from conftest import link_world
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.support.expected_conditions import element_to_be_clickable
from selenium.webdriver.support.wait import WebDriverWait

from imp_data.storage.data_dir import DataDir

ROOT = Path(__file__).resolve().parents[2]
BROWSER, DRIVER = Path("/usr/bin/chromium"), Path("/usr/bin/chromedriver")
ROWS = 1056

pytestmark = pytest.mark.skipif(
    not (BROWSER.exists() and DRIVER.exists()), reason=f"{BROWSER} or {DRIVER} is not there"
)


def wait_for(what: Callable[[], Any], seconds: float) -> Any:
    """Return the first true result; raise an error after the time limit."""
    end = time.monotonic() + seconds
    while not (answer := what()):
        assert time.monotonic() < end, f"waited {seconds:.0f} s in vain"
        time.sleep(0.5)
    return answer


@pytest.fixture
def server(tmp_path: Path, drawn_demo: DataDir) -> Iterator[str]:
    """The address of `dg dev` with a new instance, and a data directory of the drawn files."""
    link_world(drawn_demo, tmp_path / "data")
    settings = (ROOT / "dagster.yaml").read_text()
    assert ".dagster" in settings
    (tmp_path / "dagster.yaml").write_text(settings.replace(".dagster", f"{tmp_path}/.dagster"))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    manifests = shutil.copytree(ROOT / "manifests", tmp_path / "manifests")
    demo = manifests / "mixtures" / "demo.yaml"
    # The mixture alone: its model takes minutes.
    lines = demo.read_text().splitlines(keepends=True)
    demo.write_text("".join(line for line in lines if not line.startswith("model:")))
    own = {
        "DAGSTER_HOME": str(tmp_path),
        "IMP_DATA_DIR": str(tmp_path / "data"),
        "IMP_MIXTURE": str(demo),
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
    }
    with (tmp_path / "server.log").open("w") as log:
        # In a session of its own: as a shell's background job it would ignore SIGINT.
        process = subprocess.Popen(
            ["dg", "dev", "--host", "127.0.0.1", "--port", str(port)],
            cwd=ROOT,
            env={**os.environ, **own},
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[webdriver.Chrome]:
    options = webdriver.ChromeOptions()
    options.binary_location = str(BROWSER)
    switches = (
        *("headless", "no-sandbox", "disable-gpu", "no-first-run", "disable-quic"),
        *("disable-background-networking", "disable-component-update", "disable-sync"),
        f"user-data-dir={tmp_path / 'browser'}",
        "window-size=1600,1200",
    )
    for switch in switches:
        options.add_argument(f"--{switch}")
    driver = webdriver.Chrome(options, webdriver.ChromeService(str(DRIVER)))
    try:
        yield driver
    finally:
        driver.quit()
        shutil.rmtree(tmp_path / "browser", ignore_errors=True)


def query(server: str, query: str) -> dict[str, Any]:
    """Return the response of the UI's GraphQL; nothing until the server is ready."""
    try:
        answer = httpx.post(f"{server}/graphql", json={"query": query}, timeout=30)
    except httpx.TransportError:
        return {}
    return answer.json()["data"] or {}


def locations(server: str) -> list[str]:
    """Return the loaded code locations."""
    response = query(
        server,
        "{workspaceOrError {... on Workspace {locationEntries {name loadStatus"
        " locationOrLoadError {__typename ... on PythonError {message}}}}}}",
    )
    entries = response.get("workspaceOrError", {}).get("locationEntries", [])
    wrong = [e["locationOrLoadError"].get("message") for e in entries if e["locationOrLoadError"]]
    assert not any(wrong), wrong
    return [e["name"] for e in entries if e["loadStatus"] == "LOADED"]


def finished_run(server: str) -> str | None:
    """Return the status of the latest run after it ended."""
    response = query(server, "{runsOrError(limit: 1) {... on Runs {results {status}}}}")
    status = [run["status"] for run in response["runsOrError"]["results"]]
    return status[0] if status and status[0] in {"SUCCESS", "FAILURE", "CANCELED"} else None


def row_count(server: str, asset: str) -> int:
    """Return the row count of the asset's last materialization."""
    response = query(
        server,
        f'{{assetOrError(assetKey: {{path: ["demo", "{asset}"]}}) {{... on Asset {{'
        "assetMaterializations(limit: 1) {metadataEntries {label"
        " ... on IntMetadataEntry {intValue}}}}}}",
    )
    (last,) = response["assetOrError"]["assetMaterializations"]
    entries = {entry["label"]: entry for entry in last["metadataEntries"]}
    count: int = entries["dagster/row_count"]["intValue"]
    return count


@pytest.mark.slow
def test_materialize_all_builds_the_mixture(server: str, browser: webdriver.Chrome) -> None:
    assert wait_for(lambda: locations(server), 60) == ["imp_data"]
    browser.get(f"{server}/asset-groups")
    button = (By.XPATH, "//button[contains(., 'Materialize all')]")
    WebDriverWait(browser, 30).until(element_to_be_clickable(button)).click()
    assert wait_for(lambda: finished_run(server), 120) == "SUCCESS"
    assert row_count(server, "mixture") == ROWS
    browser.get(f"{server}/assets/demo/mixture?view=overview")
    page = (By.TAG_NAME, "body")
    wait_for(lambda: f"{ROWS:,}" in browser.find_element(*page).text, 30)
