"""Files of a dataset of the Hub as paths in an object store."""

import pickle
from collections.abc import Iterator
from pathlib import Path

import pytest
from loopback_hub import Fault, Hub, serving_hub

from imp_data.errors import UserError
from imp_data.raw import retries
from imp_data.raw.hub_ranges import HubFiles, HubPath, hub_folder
from imp_data.storage.digests import file_sizes
from imp_data.storage.globs import matching_files
from imp_data.storage.object_store import exists
from imp_data.storage.range_reader import open_file, read_object

CONTENT = bytes(range(256)) * 40
FILES = {"data/a-0.bin": CONTENT, "data/a-1.bin": b"one", "empty.bin": b""}


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(retries, "sleep", lambda seconds: None)
    with serving_hub() as server:
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        yield server


@pytest.fixture
def folder(hub: Hub, tmp_path: Path) -> HubPath:
    """Return the folder of a source, with the files of a dataset."""
    commit = hub.dataset("lab/set", FILES)
    sizes = {path: (len(content), commit) for path, content in FILES.items()}
    folder = hub_folder(tmp_path / "files.json", HubFiles("lab/set", commit, sizes)) / "source"
    assert isinstance(folder, HubPath)
    return folder


def test_files_are_listed_and_matched_without_a_request(folder: HubPath, hub: Hub) -> None:
    assert file_sizes(folder) == {path: len(content) for path, content in FILES.items()}
    assert matching_files(folder, "data/*.bin") == [
        folder / "data/a-0.bin",
        folder / "data/a-1.bin",
    ]
    assert exists(folder / "data") and not exists(folder / "data/a-2.bin")
    assert hub.asked == []


def test_only_the_range_that_is_read_is_requested(folder: HubPath, hub: Hub) -> None:
    assert read_object(folder / "data/a-0.bin", 10) == CONTENT[:10]
    with open_file(folder / "data/a-0.bin") as file:
        file.seek(-4, 2)
        assert file.read() == CONTENT[-4:]
    assert hub.ranges() == ["bytes=0-9", f"bytes=0-{len(CONTENT) - 1}"]
    assert read_object(folder / "empty.bin") == b""


def test_a_range_that_was_read_before_is_not_requested_again(folder: HubPath, hub: Hub) -> None:
    for _ in range(3):
        with open_file(folder / "data/a-1.bin") as file:
            assert file.read() == b"one"
    assert len(hub.ranges()) == 1


def test_another_process_reads_the_same_path(folder: HubPath) -> None:
    path = pickle.loads(pickle.dumps(folder / "data/a-1.bin"))
    assert path == folder / "data/a-1.bin"
    assert read_object(path) == b"one"


def test_messages_name_the_dataset_and_the_commit(folder: HubPath) -> None:
    commit = folder.fs.hub_files.commit
    assert str(folder / "data/a-1.bin") == f"hf://datasets/lab/set@{commit[:8]}/data/a-1.bin"
    assert str((folder / "data/a-1.bin").relative_to(folder)) == "data/a-1.bin"


def test_a_file_that_was_downloaded_is_read_from_its_copy(
    folder: HubPath, hub: Hub, tmp_path: Path
) -> None:
    (tmp_path / "copy").write_bytes(b"one")
    files = folder.fs.hub_files._replace(local={"data/a-1.bin": str(tmp_path / "copy")})
    local = hub_folder(tmp_path / "local.json", files) / "source"
    assert read_object(local / "data/a-1.bin") == b"one"
    assert hub.asked == []


@pytest.mark.parametrize(
    "fault", [Fault("GET /cdn/", cut=1), Fault("GET /datasets/", status=503)], ids=["cut", "busy"]
)
def test_a_transient_error_is_repeated(fault: Fault, folder: HubPath, hub: Hub) -> None:
    hub.faults = [fault]
    assert read_object(folder / "data/a-1.bin") == b"one"


def test_a_server_without_ranges_is_refused(folder: HubPath, hub: Hub) -> None:
    hub.faults = [Fault("GET /datasets/", status=200, body=b"all of it")]
    with pytest.raises(UserError, match="answers HTTP 200 to a request for a range"):
        read_object(folder / "data/a-1.bin")


def test_a_server_that_stays_away_is_an_error(folder: HubPath, hub: Hub) -> None:
    hub.faults = [Fault("GET /datasets/", status=503)] * 10
    with pytest.raises(UserError, match="fails again and again: HTTP 503"):
        read_object(folder / "data/a-1.bin")
