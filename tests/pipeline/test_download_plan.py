"""`imp-data plan` lists what a build downloads, before a byte moves."""

import json
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import DEMO, PUBLISHED, World
from loopback_hub import Fault, Hub, serving_hub
from pydantic import ValidationError
from scripted_server import scripted
from trials.downloads import led, said

from imp_data.errors import UserError
from imp_data.manifests import UpstreamFile
from imp_data.pipeline.build import Build
from imp_data.pipeline.download_plan import BUILD_BYTES, DownloadPlan, PlannedFile, plan_downloads
from imp_data.pipeline.download_plan_text import format_bytes, parse_rate, summary_lines, table_row
from imp_data.pipeline.planned_extras import PlannedUrls
from imp_data.raw.extract import extract
from imp_data.raw.image_urls.status import UrlStatus, write_statuses

ROOT = Path(__file__).parents[2]
FILES = {
    "data/train-0.parquet": b"PAR1" + b"a" * 3000,
    "data/train-1.parquet": b"PAR1" + b"b" * 5000,
    "README.md": b"# Birds\n",
}


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("HF_HUB_DISABLE_XET", "1")
    monkeypatch.setenv("IMP_DATA_DIR", str(tmp_path / "data"))
    for name in ("HF_TOKEN", "IMP_DATA_MIRROR", "IMP_MIXTURE"):
        monkeypatch.delenv(name, raising=False)
    with serving_hub() as server:
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        yield server


def laid(world: World, hub: Hub, other: str = "") -> Build:
    """Return the build of a source: a glob and a file of the Hub, a manual file, another URL."""
    revision = hub.dataset("lab/birds", FILES)
    files: list[dict[str, Any]] = [
        {"path": "data/*.parquet"},
        {"path": "README.md"},
        {"path": "labels.zip", "by_hand": "Ask. Place it at data/raw/birds/labels.zip."},
    ]
    files += [{"path": "other.json", "url": other}] if other else []
    pinned = {"hub": "lab/birds", "revision": revision}
    shared = {**PUBLISHED, "license": "CC-BY-4.0"}
    world.source(
        "birds", b"", files=files, records=["data/*.parquet"], **pinned, license="CC-BY-4.0"
    )
    (world.data.raw("birds") / "records.json").unlink()
    folders = [{"path": "birds", "file": "labels.zip"}]
    world.manifest("images", "birds", **shared, files=[files[2]], folders=folders)
    manifest = world.manifests / "sources" / "birds.yaml"
    document = yaml.safe_load(manifest.read_text())
    manifest.write_text(yaml.safe_dump({**document, "images": ["birds"]}))
    return world.build({"birds": 1})


def summary(plan: DownloadPlan) -> list[tuple[str, int | None, int, str]]:
    return [(file.path, file.bytes, file.received, file.state) for file in plan.files]


def test_each_file_stands_once_with_its_size_and_state(world: World, hub: Hub) -> None:
    build = laid(world, hub)
    world.file("birds", "README.md", FILES["README.md"])
    world.file("birds", "data/.train-1.parquet.part", b"PAR1bb")
    plan = plan_downloads(build)
    assert summary(plan) == [
        ("README.md", 8, 8, "there"),
        ("data/train-0.parquet", 3004, 0, "missing"),
        ("data/train-1.parquet", 5004, 6, "partial"),
        ("labels.zip", None, 0, "manual"),
    ]
    assert plan.download_bytes == 3004 + 4998
    assert plan.disk_bytes == 3004 + 4998 + BUILD_BYTES
    assert plan.unknown_sizes == 1
    assert {file.license for file in plan.files} == {"CC-BY-4.0"}
    manual = plan.files[3]
    where = world.data.raw("birds") / "labels.zip"
    assert (manual.address, manual.instructions) == (None, f"Ask. Place it at {where}.")


def test_a_plan_moves_no_byte_and_writes_nothing(world: World, hub: Hub, tmp_path: Path) -> None:
    build = laid(world, hub)
    before = sorted(tmp_path.rglob("*"))
    plan_downloads(build)
    assert sorted(tmp_path.rglob("*")) == before
    assert {path.split("/")[1] for path in hub.requests("GET")} == {"api"}


def test_offline_no_server_is_asked(world: World, hub: Hub) -> None:
    plan = plan_downloads(laid(world, hub), offline=True)
    assert hub.asked == []
    assert [(file.path, file.bytes) for file in plan.files] == [
        ("README.md", None),
        ("data/*.parquet", None),
        ("labels.zip", None),
    ]
    assert plan.files[1].note == "a list that the Hub has; not asked (--offline)"


def test_a_list_in_the_lock_file_needs_no_server(world: World, hub: Hub) -> None:
    build = laid(world, hub)
    assert build.locks is not None
    with pytest.raises(UserError, match="manually"):
        build.raw("birds")
    asked = len(hub.asked)
    plan = plan_downloads(build, offline=True)
    assert [file.state for file in plan.files] == ["there", "there", "there", "manual"]
    assert len(hub.asked) == asked


def test_a_server_that_refuses_is_a_note_and_not_an_error(world: World, hub: Hub) -> None:
    build = laid(world, hub)
    hub.repositories["datasets/lab/birds"].gated = True
    hub.faults = [Fault("GET /api/", 403)]
    plan = plan_downloads(build)
    notes = {file.path: file.note for file in plan.files}
    assert notes["README.md"] == "answers HTTP 401: authentication required"
    assert "answers HTTP 403" in notes["data/*.parquet"]


def test_other_servers_are_asked_for_sizes_with_head(world: World, hub: Hub) -> None:
    with scripted(said(200, b"x" * 77)) as server:
        plan = plan_downloads(laid(world, hub, f"{server.url}/other.json"))
        assert [f.bytes for f in plan.files if f.path == "other.json"] == [77]
    with scripted(led("http://localhost:9/")) as server:
        plan = plan_downloads(laid(world, hub, f"{server.url}/other.json"))
        (note,) = (f.note for f in plan.files if f.path == "other.json")
        assert note.startswith("redirects to localhost")


def planned(**fields: Any) -> PlannedFile:
    usual = {"name": "a", "path": "b.zip", "bytes": 10**9, "received": 0, "state": "missing"}
    rest = {"license": "MIT", "address": "https://example.org/b.zip"}
    return PlannedFile(**{**usual, **rest, **fields})


def test_the_summary_counts_bytes_disk_and_time() -> None:
    manual = planned(state="manual", bytes=None, address=None, instructions="Ask.")
    files = (planned(), planned(state="there", received=10**9), manual)
    plan = DownloadPlan("m", Path("data"), files, free_bytes=10**9)
    assert list(summary_lines(plan, 50e6)) == [
        "m: 3 files; 1 there, 1 to download, 1 to download manually",
        "download: 1.0 GB, and 1 file of unknown size",
        "disk at data: at least 11.0 GB needed with the build, 1.0 GB free: not enough",
        "time: 20 s at 50.0 MB/s",
    ]
    assert list(summary_lines(plan, None))[3] == (
        "time: 1 min 40 s at 10.0 MB/s, 10 s at 100.0 MB/s (--rate states yours)"
    )


def test_estimates_count_apart_from_sizes_that_are_known() -> None:
    guessed = planned(bytes=None, estimated_bytes=3 * 10**9, received=10**9, state="partial")
    links = PlannedUrls("web", "links.parquet", 12_356, 2_000, 10**9, "CC0-1.0")
    plan = DownloadPlan("m", Path("data"), (planned(), guessed), 10**12, (links,))
    assert table_row(guessed)[1] == "about 3.0 GB"
    assert (plan.download_bytes, plan.estimated_bytes) == (10**9, 3 * 10**9)
    assert list(summary_lines(plan, 50e6)) == [
        "m: 2 files; 0 there, 2 to download, 0 to download manually",
        "download: 1.0 GB, about 3.0 GB more by estimates",
        "images by URL: web: 12,356 links in links.parquet, 2,000 of them fetched or failed for "
        "good, about 1.0 GB by an estimate",
        "disk at data: 14.0 GB needed with the build, 1.0 TB free",
        "time: 1 min 20 s at 50.0 MB/s",
    ]


def test_the_links_of_a_list_are_counted_once_it_is_there(world: World) -> None:
    shared = {**PUBLISHED, "license": "CC0-1.0"}
    urls = {"file": "links.txt", "name": "{row}.jpg", "links": 9, "estimated_bytes": 900}
    folders = [{"path": "web"}]
    files = [{"path": "links.txt", "by_hand": "Ask."}]
    world.manifest("images", "web", **shared, files=files, folders=folders, urls=urls)
    world.source("photos", [], images=["web"])
    build = world.build({"photos": 1})
    assert plan_downloads(build, offline=True).urls == (
        PlannedUrls("web", "links.txt", 9, 0, 900, "CC0-1.0"),
    )
    world.file("web", "links.txt", b"https://example.org/1\nhttps://example.org/2\n")
    done = UrlStatus("https://example.org/1", "0.jpg", "ok", bytes=5)
    write_statuses(world.data.raw("web") / "url_status.parquet", [done])
    assert plan_downloads(build, offline=True).urls == (
        PlannedUrls("web", "links.txt", 2, 1, 450, "CC0-1.0"),
    )
    world.file("web", "links.txt", b"PK\x03\x04 no list")
    (unread,) = plan_downloads(build, offline=True).urls
    assert unread.note.startswith("is a zip")


def test_what_is_unpacked_is_unknown_until_a_zip_is_there(world: World) -> None:
    file = {"path": "all.zip", "url": "https://example.org/all.zip", "unpack": ["q/*.json"]}
    world.manifest("sources", "quiz", **PUBLISHED, layout="llava", records=["q/*"], files=[file])
    build = world.build({"quiz": 1})

    def plan() -> tuple[list[str], int]:
        found = plan_downloads(build, offline=True)
        lines = [line for line in summary_lines(found, 1e6) if line.startswith("unpack")]
        return lines, found.disk_bytes

    lines, _ = plan()
    assert lines == ["unpack, size unknown before the archive is read: quiz/all.zip"]
    archive = world.file("quiz", "all.zip", b"")
    with zipfile.ZipFile(archive, "w") as whole:
        for name, size in (("q/1.json", 700), ("q/2.json", 900), ("image.png", 5000)):
            whole.writestr(name, b"0" * size)
    lines, disk = plan()
    assert lines == ["unpack: 2 files, 1.6 kB, from quiz/all.zip"]
    assert disk == BUILD_BYTES + 1600
    extract(archive, "digest", ["q/*.json"], archive.parent)
    assert plan() == ([], BUILD_BYTES)
    cut = archive.read_bytes()[:-30]
    (archive.parent / ".all.zip.unpacked").unlink()
    archive.write_bytes(cut)
    assert plan()[0] == ["unpack, size unknown before the archive is read: quiz/all.zip"]


@pytest.mark.parametrize("name", ["imp-1m-hub", "imp-1m-text"])
def test_a_mixture_without_manual_downloads_has_none_and_the_size_of_the_manual(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("IMP_DATA_MIRROR", raising=False)
    plan = plan_downloads(Build.of(DEMO.with_name(f"{name}.yaml")), offline=True)
    assert [file.path for file in plan.files if file.address is None] == []
    # TextVQA's lists of ids, and its test images.
    unknown = {file.name for file in plan.files if (file.bytes or file.estimated_bytes) is None}
    assert unknown == {"textvqa"}
    size = format_bytes(plan.download_bytes + plan.estimated_bytes)
    page = (ROOT / "docs" / "imp-1m-hub.md").read_text(encoding="utf-8")
    (stated,) = re.findall(
        rf"imp-data plan manifests/mixtures/{name}.yaml +# .*: ([\d.]+ GB)", page
    )
    assert stated == size


def test_a_size_is_known_or_estimated_but_not_both() -> None:
    with pytest.raises(ValidationError, match="estimated_bytes: leave it out beside `bytes`"):
        UpstreamFile(path="a", bytes=5, estimated_bytes=5)


def test_a_row_names_the_dataset_and_its_commit() -> None:
    address = f"https://huggingface.co/datasets/lab/birds/resolve/{'a' * 40}/b.zip"
    assert table_row(planned(address=address, state="partial", received=5)) == (
        *("a/b.zip", "1.0 GB", "5 bytes there", "MIT"),
        "lab/birds at aaaaaaa",
    )
    assert table_row(planned())[4] == "example.org"
    assert table_row(planned(address=None, state="manual"))[4] == "manually: see below"


@pytest.mark.parametrize(
    ("text", "rate"), [("50MB/s", 50e6), ("1.5 GB/s", 1.5e9), ("400Mbit/s", 50e6), ("9B/s", 9)]
)
def test_a_rate_is_read_in_bytes_or_bits(text: str, rate: float) -> None:
    assert parse_rate(text) == rate


@pytest.mark.parametrize("text", ["50", "fast", "0MB/s", "-1MB/s"])
def test_a_rate_without_a_unit_is_an_error(text: str) -> None:
    with pytest.raises(UserError, match=r"--rate: is .*, no speed"):
        parse_rate(text)


def test_sizes_have_units_of_1000() -> None:
    shown = ["999 bytes", "1.0 kB", "1.0 MB", "1.0 GB", "12,000.0 TB"]
    assert [format_bytes(n) for n in (999, 1000, 999_999, 10**9, 12 * 10**15)] == shown


def test_the_json_has_each_file_and_the_totals(world: World, hub: Hub) -> None:
    found = json.loads(json.dumps(plan_downloads(laid(world, hub)).to_json(1000)))
    assert list(found) == [
        *("mixture", "data_directory", "files", "urls", "unpack", "download_bytes"),
        *("estimated_bytes", "unknown_sizes", "disk_bytes", "free_bytes", "seconds"),
    ]
    assert (found["mixture"], found["download_bytes"], found["seconds"]) == ("small", 8016, 8)
    first = found["files"][0]
    assert (first["name"], first["path"], first["bytes"]) == ("birds", "README.md", 8)
    assert first["address"].startswith("https://huggingface.co/datasets/lab/birds/resolve/")


def test_the_drawn_demo_downloads_nothing(hub: Hub) -> None:
    plan = plan_downloads(Build.of(DEMO))
    assert list(summary_lines(plan, None)) == ["demo: downloads nothing; its files are drawn"]
