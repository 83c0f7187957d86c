"""A collection whose manifest names URLs: downloaded by the raw stage, missing images accounted."""

import json
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import PUBLISHED, World, encoded, photo, record, run
from faulty import outcomes
from image_server import ImageServer, image_server

from imp_data.errors import UserError
from imp_data.manifests import ImageCollection, load_manifest, model_digest
from imp_data.mixture.ledger_queries import explain
from imp_data.pipeline.build import Build
from imp_data.pipeline.required_inputs import check_inputs, manual_downloads
from imp_data.raw.image_urls.status import STATUS_FILE, read_statuses, write_statuses

# typer 0.25 names functions that click 8.5 deprecates.
with warnings.catch_warnings(action="ignore", category=DeprecationWarning):
    from imp_data.cli import main

ROOT = Path(__file__).parents[2]
IMAGES = {f"{n}.jpg": encoded(photo(n), "JPEG") for n in range(4)}
PATHS = ["0.jpg", "1.jpg", "gone.jpg", "page/html", "3.jpg"]


@pytest.fixture
def server() -> Iterator[ImageServer]:
    with image_server(IMAGES) as running:
        yield running


def lay_links(world: World, server: ImageServer, **urls: Any) -> Build:
    """Add a source `web` with an image a record, by the number of the link's row."""
    links = {"link": [server.url(path) for path in PATHS]}
    world.data.raw("web").mkdir(parents=True)
    pq.write_table(pa.table(links), world.data.raw("web") / "links.parquet")
    records = [record(n, f"web/images/v{n}.jpg", f"Image {n}.") for n in range(len(PATHS))]
    world.source("web", records, images=["web"])
    stated = {"file": "links.parquet", "column": "link", "name": "v{row}.jpg"}
    stated |= {"unless": "images.zip", "private_hosts": ["127.0.0.1"], **urls}
    files = [{"path": "images.zip", "by_hand": "pack the images"}]
    folders = [{"path": "web/images", "file": "images.zip"}]
    world.manifest("images", "web", **PUBLISHED, files=files, folders=folders, urls=stated)
    return world.build({"web": 5})


def test_images_come_by_url_and_those_that_do_not_are_missing(
    world: World, server: ImageServer
) -> None:
    build = lay_links(world, server)
    assert manual_downloads(build) == []
    check_inputs(build)
    done = run(build)
    assert done["raw/web"].figures["urls"] == {"gone": 1, "not_an_image": 1, "ok": 3}
    found = {identity: reason for identity, (_, reason, _) in outcomes(world.data.root).items()}
    missing = "image_missing"
    assert found == {"0": None, "1": None, "2": missing, "3": missing, "4": None}
    requests = dict(server.requests)
    assert not any(result.built for result in run(build).values())
    assert server.requests == requests


def test_the_ledger_names_the_status_of_the_url_of_a_missing_image(
    world: World, server: ImageServer
) -> None:
    build = lay_links(world, server)
    run(build)
    [gone] = explain(build.data.mixture("small"), "2")
    assert json.loads(gone.row["evidence"]) == {
        "image": "web/images/v2.jpg",
        "url": server.url("gone.jpg"),
        "url_status": "gone",
        "http_status": 404,
        "problem": "The server has no such image (404, 410).",
    }
    assert "    url_status: gone" in "\n".join(gone.lines()).splitlines()
    [page] = explain(build.data.mixture("small"), "3")
    assert json.loads(page.row["evidence"])["url_status"] == "not_an_image"


def test_another_status_of_a_url_builds_the_images_stage_again(
    world: World, server: ImageServer
) -> None:
    build = lay_links(world, server)
    run(build)
    path = world.data.raw("web") / STATUS_FILE
    statuses = [*read_statuses(path)]
    later = [one._replace(attempts=one.attempts + 1) for one in statuses]
    write_statuses(path, later)
    assert not build.images("web").built
    timeout = {"reason": "timeout", "http_status": None}
    write_statuses(path, [one._replace(**timeout) if one.reason else one for one in statuses])
    assert build.images("web").built


def test_an_archive_in_place_is_used_instead(world: World, server: ImageServer) -> None:
    from zipfile import ZipFile

    build = lay_links(world, server)
    with ZipFile(world.data.raw("web") / "images.zip", "w") as packed:
        for n in range(len(PATHS)):
            packed.writestr(f"v{n}.jpg", encoded(photo(50 + n), "JPEG"))
    done = run(build)
    assert "urls" not in done["raw/web"].figures
    assert not server.requests
    assert {reason for _, reason, _ in outcomes(world.data.root).values()} == {None}


def test_not_one_image_is_an_error(world: World, server: ImageServer) -> None:
    build = lay_links(world, server, private_hosts=[])
    with pytest.raises(UserError, match=r"none of 5 URLs brought an image \(5 refused_address\)"):
        build.raw("web")


@pytest.mark.parametrize(
    ("urls", "problem"),
    [
        ({"name": "v.jpg"}, "name: 'v.jpg' must have {row} once"),
        ({"name": "v{row}{n}.jpg"}, "must have {row} once"),
        ({"name_column": "n"}, "give either `name` or `name_column`"),
        ({"unless": "other.zip"}, "urls.unless: other.zip is not among `files`"),
    ],
)
def test_a_wrong_field_is_an_error_of_the_manifest(
    urls: dict[str, Any], problem: str, world: World, server: ImageServer
) -> None:
    with pytest.raises(UserError) as raised:
        lay_links(world, server, **urls)
    assert problem in raised.value.problem


def test_the_urls_of_laion_gpt4v_are_those_of_its_source() -> None:
    collection = load_manifest(ROOT / "manifests/images/laion_gpt4v.yaml", ImageCollection)
    assert collection.urls is not None
    assert (collection.urls.file, collection.urls.column) == ("0000.parquet", "link")
    assert [f.inside for f in collection.all_folders] == ["", "url_images"]
    # Where an image comes from changes no mixture, so the manifest's digest does not cover it.
    assert model_digest(collection) == model_digest(collection.model_copy(update={"urls": None}))


def fetch(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *words: object
) -> tuple[int, str]:
    monkeypatch.setattr("sys.argv", ["imp-data", "fetch-images", *map(str, words)])
    with pytest.raises(SystemExit) as ended:
        main()
    out, err = capsys.readouterr()
    return int(ended.value.code or 0), out + err


def test_the_command_prints_each_result_and_fails_while_another_run_may_get_more(
    tmp_path: Path,
    server: ImageServer,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    urls = tmp_path / "urls.txt"
    urls.write_text("\n".join(server.url(p) for p in ("0.jpg", "gone.jpg")), encoding="utf-8")
    words = [urls, "-o", tmp_path / "out", "--private-host", "127.0.0.1", "--rate", "0"]
    status, out = fetch(monkeypatch, capsys, *words)
    assert status == 0
    assert "        1  gone             The server has no such image (404, 410).\n" in out
    assert (tmp_path / "out" / "0.jpg").read_bytes() == IMAGES["0.jpg"]
    with urls.open("a", encoding="utf-8") as file:
        file.write("\n" + server.url("busy/503/9/3600"))
    status, out = fetch(monkeypatch, capsys, *words)
    assert status == 1
    assert "another run may get 1 more" in out
    status, out = fetch(monkeypatch, capsys, *words, "--allow-failures", "--json")
    assert status == 0
    assert json.loads(out)["rows"] == {"gone": 1, "ok": 1, "server_error": 1}
    assert len(list(read_statuses(tmp_path / "out" / STATUS_FILE))) == 3


def test_the_command_needs_a_folder_for_a_list(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    status, out = fetch(monkeypatch, capsys, tmp_path / "urls.txt")
    assert (status, out.splitlines()[0]) == (1, "imp-data: --out: is missing")


def test_the_command_takes_the_manifest_of_a_collection(
    world: World,
    server: ImageServer,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    lay_links(world, server)
    monkeypatch.setenv("IMP_DATA_DIR", str(world.data.root))
    status, _ = fetch(monkeypatch, capsys, world.manifests / "images" / "web.yaml")
    assert status == 0
    assert (world.data.raw("web") / "url_images" / "v4.jpg").read_bytes() == IMAGES["3.jpg"]
