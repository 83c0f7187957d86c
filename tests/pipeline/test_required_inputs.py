"""Missing inputs are reported before any download, with the line of the manifest."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import PUBLISHED, World, encoded, photo, record, run

from imp_data.errors import UserError
from imp_data.pipeline import required_inputs
from imp_data.pipeline.build import Build
from imp_data.pipeline.missing_inputs import InputPaths
from imp_data.pipeline.required_inputs import check_inputs, manual_downloads
from imp_data.storage.data_dir import DataDir
from imp_data.storage.folders import list_files
from imp_data.storage.globs import matching_files
from imp_data.storage.object_store import upload_bytes
from imp_data.storage.paths import parse_path


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.delenv("IMP_DATA_MIRROR", raising=False)
    monkeypatch.setattr(required_inputs, "_TRIES", 1)


def own(world: World, folder: str, **source: object) -> Build:
    """A source with one record on pics/0.jpg, beside a folder `photos` of two images."""
    for number in range(2):
        world.file("own", f"photos/{number}.jpg", encoded(photo(number), "JPEG"))
    world.source("own", [record(0, "pics/0.jpg")], **{"images": ["own"], **source})
    path = world.manifests / "images" / "own.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    stated = "".join(f"{key}: {value}\n" for key, value in {"name": "own", **PUBLISHED}.items())
    path.write_text(f"{stated}folders:\n  - {folder}\n", encoding="utf-8")
    return world.build({"own": 1})


def problem_of(build: Build) -> str:
    with pytest.raises(UserError) as error:
        check_inputs(build)
    return error.value.problem


@pytest.mark.parametrize(
    "folder",
    [
        "{path: pics, inside: photos}",
        "{path: pics/, inside: ./photos/}",
        "{path: Pics, inside: photos}",  # found under another spelling, and recorded as a repair
    ],
)
def test_an_existing_path_is_found_in_every_spelling(world: World, folder: str) -> None:
    check_inputs(own(world, folder))


def test_a_missing_folder_is_named_with_its_line_and_the_existing_folders(world: World) -> None:
    raw = world.data.raw("own")
    assert problem_of(own(world, "{path: pics, inside: photo}")) == (
        "these paths do not exist:\n"
        f"  {world.manifests}/images/own.yaml, line 6, column 18, folders.0.inside: "
        f"there is no folder {raw}/photo; {raw} holds photos, records.json"
    )


def test_the_same_is_checked_in_an_object_store(world: World) -> None:
    there, missing = (own(world, f"{{path: pics, inside: {name}}}") for name in ("photos", "photo"))
    far = DataDir(parse_path(f"memory://{world.data.root}"))
    for name, _ in list_files(world.data.root):
        upload_bytes((world.data.root / name).read_bytes(), far.root / name)
    raw = far.raw("own")
    check_inputs(Build(there.recipe, far))
    problem = problem_of(Build(missing.recipe, far))
    assert f"there is no folder {raw}/photo; {raw} holds photos, records.json" in problem
    problem = problem_of(Build(missing.recipe, DataDir(parse_path("memory://bucket/empty"))))
    assert "memory://bucket/empty/raw/own/photo holds nothing" in problem


def test_an_archive_that_is_missing_and_not_published_is_named(world: World) -> None:
    problem = problem_of(own(world, "{path: pics, file: photos.zip}"))
    assert "line 6, column 18, folders.0.file: photos.zip is not in" in problem
    assert "not among this manifest's `files` (records.json)" in problem


def test_a_folder_missing_in_an_archive_is_named_with_the_existing_ones(
    world: World, tmp_path: Path
) -> None:
    import zipfile

    archive = world.file("own", "photos.zip", b"")
    with zipfile.ZipFile(archive, "w") as whole:
        whole.writestr("train/0.jpg", b"")
        whole.writestr("README", b"")
    problem = problem_of(own(world, "{path: pics, file: photos.zip, inside: trian}"))
    assert problem.endswith(
        "line 6, column 36, folders.0.inside: "
        f"{archive} holds no folder trian; it holds train, README"
    )


def test_a_missing_file_of_records_is_named(world: World) -> None:
    world.file("own", "part1.json", b"[]")
    build = own(world, "{path: pics, inside: photos}", records=["part2.json"], files=[])
    raw = world.data.raw("own")
    problem = problem_of(build)
    assert f"records.0: part2.json is not in {raw}; {raw} holds part1.json, " in problem


def test_images_in_no_folder_are_named_with_an_example(world: World) -> None:
    problem = problem_of(own(world, "{path: photos, inside: photos}"))
    assert "image_prefix: the records name images such as 'pics/0.jpg'; none begins" in problem
    assert problem.endswith("with a folder of its `images`: photos/")


def test_a_prefix_without_its_slash_is_named(world: World) -> None:
    build = own(world, "{path: data/pics, inside: photos}", image_prefix="data")
    problem = problem_of(build)
    assert "the records name images such as 'datapics/0.jpg'" in problem
    assert "image_prefix 'data' included" in problem


def test_records_with_images_but_no_images_are_named(world: World) -> None:
    problem = problem_of(own(world, "{path: pics, inside: photos}", images=[]))
    assert "no collection is named in `images`; there are: own" in problem


def test_one_error_names_all_missing_paths(world: World) -> None:
    world.source("other", [record(0)], records=["none.json"], files=[])
    own(world, "{path: pics, inside: photo}")
    problem = problem_of(world.build({"own": 1, "other": 1}))
    assert problem.count("\n") == 2


def test_a_source_without_any_existing_image_is_an_error(world: World) -> None:
    build = own(world, "{path: pics, inside: photos}")
    world.source("own", [record(n, f"pics/{n}.png") for n in (7, 8)], images=["own"])
    with pytest.raises(UserError) as error:
        run(build)
    assert error.value.where == "images/own"
    assert error.value.problem.startswith("none of 2 images exists; pics/")
    assert f"\n  {world.data.raw('own')}, photos/" in error.value.problem


def with_files(world: World, *files: dict[str, object]) -> Build:
    world.source("own", [record(0)], files=[{"path": "records.json", "by_hand": "There."}, *files])
    world.source("two", [record(0)])
    (world.data.raw("two") / "records.json").unlink()
    return world.build({"own": 1, "two": 1})


def test_all_manual_downloads_of_a_mixture_are_listed_at_once(world: World) -> None:
    one = {"path": "a.zip", "bytes": 1000, "by_hand": "Put it at data/raw/own/a.zip."}
    build = with_files(world, one)
    assert [str(download) for download in manual_downloads(build)] == [
        f"{world.data.root}/raw/own/a.zip (1,000 bytes, licence CC0-1.0)\n"
        f"    Put it at {world.data.root}/raw/own/a.zip.",
        f"{world.data.root}/raw/two/records.json (size unknown, licence CC0-1.0)\n    put it there",
    ]


def test_no_manual_download_is_listed_if_a_mirror_is_set(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IMP_DATA_MIRROR", "http://127.0.0.1:9/")
    assert manual_downloads(with_files(world)) == []


@pytest.fixture
def listening() -> Iterator[str]:
    """The address of a server that accepts connections and closes each."""
    from http.server import BaseHTTPRequestHandler, HTTPServer
    from threading import Thread

    server = HTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler)
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def unused() -> str:
    """Return an address without a server."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{free.getsockname()[1]}"


def test_without_a_network_one_error_names_every_server(world: World) -> None:
    one, two = unused(), unused()
    build = with_files(
        world, *({"path": f"{n}.bin", "url": f"{url}/x"} for n, url in enumerate((one, two)))
    )
    with pytest.raises(UserError) as error:
        check_inputs(build)
    assert error.value.where == "2 files to fetch"
    assert error.value.problem.startswith("no server can be reached:\n  127.0.0.1: ")
    assert error.value.problem.count("\n") == 2
    assert "HTTPS_PROXY" in error.value.remedy
    assert "revision" not in error.value.remedy


def test_one_server_that_answers_is_sufficient(world: World, listening: str) -> None:
    files = ({"path": f"{n}.bin", "url": f"{url}/x"} for n, url in enumerate((unused(), listening)))
    check_inputs(with_files(world, *files))


def test_the_network_is_not_checked_if_all_files_exist(world: World) -> None:
    world.file("own", "x.bin", b"")
    world.file("two", "records.json", b"[]")
    build = with_files(world, {"path": "x.bin", "url": f"{unused()}/x"})
    world.file("two", "records.json", b"[]")
    check_inputs(build)


def loose(world: World) -> Build:
    """A source whose files of records are not published by name."""
    world.source("own", [record(0)], records=["*.json"], files=[])
    return world.build({"own": 1})


def test_added_changed_and_removed_files_are_new_inputs(world: World) -> None:
    build = loose(world)
    assert build.raw("own").figures["changes"] == {}
    world.file("own", "b.json", b"[]")
    assert build.raw("own").figures["changes"] == {"b.json": "new"}
    world.file("own", "b.json", b"[1]")
    assert build.raw("own").figures["changes"] == {"b.json": "changed"}
    (world.data.raw("own") / "b.json").unlink()
    assert build.raw("own").figures["changes"] == {"b.json": "gone"}
    assert not build.raw("own").built


def test_files_that_hold_no_records_change_nothing(world: World) -> None:
    build = loose(world)
    build.raw("own")
    for name in ("photo.jpg", "._records.json", ".DS_Store", "deep/records.json"):
        world.file("own", name, b"[]")
    assert not build.raw("own").built


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("a.json", ["a.json"]),
        ("*.json", ["a.json", "b.json"]),
        ("?.json", ["a.json", "b.json"]),
        ("[b-z].json", ["b.json"]),
        ("*/a.json", ["deep/a.json"]),
        ("**/*.json", ["a.json", "b.json", "deep/a.json", "deep/er/c1.json"]),
        ("**/c?.json", ["deep/er/c1.json"]),
        ("deep/**", ["deep/a.json", "deep/er/c1.json"]),
        ("none*", []),
    ],
)
@pytest.mark.parametrize("root", ["", "memory://"])
def test_globs_match_files_on_disk_and_in_a_store(
    root: str, pattern: str, names: list[str], tmp_path: Path
) -> None:
    from imp_data.storage.paths import parse_path

    folder = parse_path(f"{root}{tmp_path}/raw")
    for name in ("a.json", "b.json", "deep/a.json", "deep/er/c1.json", "._a.json", ".x.json"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"[]")
    found = [path.relative_to(folder).as_posix() for path in matching_files(folder, pattern)]
    assert found == names


def test_files_that_a_glob_of_the_hub_will_list_are_not_missing(world: World) -> None:
    pinned = {"hub": "lab/birds", "revision": "0" * 40}
    world.source(
        "own", b"", files=[{"path": "data/*.parquet"}], records=["data/a*.parquet"], **pinned
    )
    files, folders = [{"path": "tars/*.tar"}], [{"path": "pics", "file": "tars/0.tar"}]
    world.manifest("images", "own", **PUBLISHED, **pinned, files=files, folders=folders)
    build = world.build({"own": 1})
    assert InputPaths(build.recipe, build.reader(())).missing([]) == []
    folders[0]["file"] = "zips/0.zip"
    world.manifest("images", "own2", **PUBLISHED, **pinned, files=files, folders=folders)
    world.source("other", [record(0)], images=["own2"])
    build = world.build({"own": 1, "other": 1})
    (problem,) = InputPaths(build.recipe, build.reader(())).missing([])
    assert "zips/0.zip is not in" in problem
