"""`imp-data audit OWNER/NAME`: a dataset of the Hub on loopback, with the real client."""

import io
import json
import tarfile
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import encoded, photo, record
from loopback_hub import Fault, Hub, serving_hub

from imp_data.errors import UserError
from imp_data.raw import retries

# As in test_cli.
with warnings.catch_warnings(action="ignore", category=DeprecationWarning):
    from typer.testing import CliRunner

    from imp_data.cli import app

pytestmark = pytest.mark.usefixtures("one_worker")

CARD = """---
license: mit
configs:
- config_name: pets
  data_files:
  - split: train
    path: data/train-*
  - split: validation
    path: data/held-*
---
# Pets
"""


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("HF_HUB_DISABLE_XET", "1")
    monkeypatch.setattr(retries, "sleep", lambda seconds: None)
    with serving_hub() as server:
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        yield server


def table(numbers: Sequence[int]) -> bytes:
    """Return a Parquet file of messages with images, two rows a row group."""
    turns = [("user", "What is it?"), ("assistant", "A pet.")]
    messages = [{"role": role, "content": text} for role, text in turns]
    images = [{"bytes": encoded(photo(n)), "path": f"{n}.png"} for n in numbers]
    columns = {"id": [*map(str, numbers)], "messages": [messages] * len(images), "image": images}
    out = io.BytesIO()
    pq.write_table(pa.table(columns), out, row_group_size=2)
    return out.getvalue()


PETS = {
    "README.md": CARD.encode(),
    "data/train-00000-of-00002.parquet": table(range(5)),
    "data/train-00001-of-00002.parquet": table(range(5, 8)),
    "data/held-00000-of-00001.parquet": table([3]),
}


def audit(*arguments: Any) -> dict[str, Any]:
    """Return what the command prints as JSON."""
    done = CliRunner().invoke(app, ["audit", *map(str, arguments), "--json"])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def left_in(folder: Path) -> list[str]:
    """Return what audits have left in a folder of temporary files."""
    return [path.name for path in folder.iterdir() if path.name.startswith("imp-audit-")]


@pytest.fixture(autouse=True)
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make temporary files in a folder of the test."""
    folder = tmp_path / "scratch"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    return folder


def test_parquet_is_read_where_it_is_and_nothing_is_left(hub: Hub, scratch: Path) -> None:
    commit = hub.dataset("lab/pets", PETS)
    found = audit("lab/pets")
    assert (found["path"], found["revision"]) == (f"lab/pets@{commit[:8]}", commit)
    assert (found["license"], found["rows"], found["outcomes"]) == ("mit", 9, {"kept": 9})
    assert found["images"] == {"ok": 9}
    # The image of the validation split is one of the training split too.
    assert found["same_bytes"]["images"] == 2
    assert all(hub.ranges())
    assert left_in(scratch) == []


def test_each_image_is_the_one_of_its_row(hub: Hub) -> None:
    hub.dataset("lab/many", {"data/train-00000-of-00001.parquet": table(range(40))})
    found = audit("lab/many")
    assert (found["images"], found["same_bytes"]["groups"]) == ({"ok": 40}, 0)


@pytest.mark.parametrize(
    ("options", "rows"),
    [
        (["--split", "train"], 8),
        (["--split", "validation"], 1),
        (["--config", "pets"], 9),
        (["--files", "data/train-00001-*"], 3),
        (["--limit", "4"], 4),
    ],
)
def test_a_part_of_a_dataset_is_chosen(options: list[str], rows: int, hub: Hub) -> None:
    hub.dataset("lab/pets", PETS)
    assert audit("lab/pets", *options)["rows"] == rows


def test_of_a_dataset_that_is_read_in_part_no_other_file_is_requested(hub: Hub) -> None:
    hub.dataset("lab/pets", PETS)
    audit("lab/pets", "--split", "train", "--limit", "2")
    assert hub.requests("GET", "train-00000-of-00002")
    assert not hub.requests("GET", "held-00000")


def test_a_revision_is_a_branch_or_a_commit(hub: Hub) -> None:
    first = hub.dataset("lab/pets", PETS)
    hub.dataset("lab/pets", {"data/train-00000-of-00001.parquet": table([0])})
    assert audit("lab/pets")["rows"] == 1
    assert audit("lab/pets", "--revision", first)["rows"] == 9


def test_json_is_downloaded_and_its_size_is_stated_before(hub: Hub, scratch: Path) -> None:
    files = {
        "train.json": json.dumps([record(1, "images/1.png"), record(2, "no.png")]).encode(),
        "images/1.png": encoded(photo(1)),
    }
    hub.dataset("lab/chats", files)
    done = CliRunner().invoke(app, ["audit", "lab/chats"])
    size = len(files["train.json"])
    assert f": 1 file ({size} bytes) to {scratch}" in done.stderr
    assert "2 records: 1 kept (50.0 %), 1 dropped (50.0 %)" in done.stdout
    assert left_in(scratch) == []


def test_of_json_only_the_first_records_are_read_with_a_limit(hub: Hub) -> None:
    hub.dataset("lab/chats", {"train.jsonl": b"".join(_lines(3))})
    assert audit("lab/chats", "--limit", "2")["rows"] == 2


def _lines(count: int) -> Iterator[bytes]:
    return (json.dumps(record(n)).encode() + b"\n" for n in range(count))


def test_a_tar_with_its_images_is_downloaded(hub: Hub) -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, data in (("1.txt", b"A pet."), ("1.png", encoded(photo(1)))):
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    hub.dataset("lab/pairs", {"00000.tar": out.getvalue(), "images.zip": b"PK"})
    found = audit("lab/pairs")
    assert (found["records"][0]["form"], found["images"]) == ("captions", {"ok": 1})
    assert found["not_read"]["images.zip"].startswith("is an archive of images")


def test_images_of_an_unpacked_archive_are_read_from_a_folder_of_this_machine(
    hub: Hub, tmp_path: Path
) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "1.png").write_bytes(encoded(photo(1)))
    hub.dataset("lab/chats", {"train.jsonl": json.dumps(record(1, "1.png")).encode()})
    assert audit("lab/chats")["images"] == {"missing": 1}
    assert audit("lab/chats", "--images", tmp_path / "photos")["images"] == {"ok": 1}


def test_a_connection_that_breaks_is_made_again(hub: Hub) -> None:
    hub.dataset("lab/pets", PETS)
    hub.faults += [Fault("GET /cdn/", cut=10), Fault("GET /cdn/", status=503)]
    assert audit("lab/pets", "--limit", "1")["outcomes"] == {"kept": 1}


def test_a_folder_of_the_same_name_wins_and_the_output_says_so(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.dataset("lab/pets", PETS)
    (tmp_path / "lab" / "pets").mkdir(parents=True)
    (tmp_path / "lab" / "pets" / "a.jsonl").write_bytes(b"".join(_lines(1)))
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, ["audit", "lab/pets"])
    assert "lab/pets exists here and is audited" in done.stderr
    assert "1 record: 1 kept" in done.stdout
    assert audit("hf://datasets/lab/pets")["rows"] == 9


@pytest.mark.parametrize(
    ("name", "options", "problem", "remedy"),
    [
        ("lab/none", [], "does not exist, or is private", "set HF_TOKEN to a token"),
        ("lab/gated", [], "authentication required", "accept its licence at {hub}/datasets/lab"),
        ("lab/pets", ["--revision", "v9"], "has no revision v9", "choose a commit at {hub}"),
        ("lab/pets", ["--config", "cars"], "has no config cars", "choose among pets"),
        ("lab/pets", ["--split", "test"], "no files of the split test", "train, validation"),
        ("lab/pets", ["--files", "*.tar"], "no file of records matches *.tar", "choose among data"),
        ("lab/notes", [], "holds no file of records", "download and convert its files: notes.csv"),
    ],
)
def test_a_refusal_says_what_to_do(
    name: str, options: list[str], problem: str, remedy: str, hub: Hub
) -> None:
    hub.dataset("lab/pets", PETS)
    hub.dataset("lab/gated", PETS, gated=True)
    hub.dataset("lab/notes", {"notes.csv": b"a,b"})
    with pytest.raises(UserError) as error:
        audit(name, *options)
    assert problem in error.value.problem
    assert remedy.format(hub=hub.url) in error.value.remedy


def test_a_private_dataset_is_read_with_a_token(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.dataset("lab/pets", PETS, private=True)
    monkeypatch.setenv("HF_TOKEN", "hf_loopback_reader")
    assert audit("lab/pets", "--limit", "1")["rows"] == 1
    sent = [headers for method, path, headers in hub.asked if "/cdn/" in path]
    assert sent and not any("authorization" in headers for headers in sent)


def test_without_a_network_the_error_says_so(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(UserError, match="connect this machine"):
        audit("lab/pets")
