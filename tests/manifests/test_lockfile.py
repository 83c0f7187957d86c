"""Size and sha256 of the first download are locked beside the manifest and checked from then on."""

import hashlib
import json
import os
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import permutations
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest
from conftest import World, record
from scripted_server import scripted
from trials.downloads import said

from imp_data.errors import UserError
from imp_data.manifests import Benchmark, ImageCollection, Publication, Source, UpstreamFile
from imp_data.manifests.lockfile import LockFiles, checksum_origins
from imp_data.raw.fetch import fetch_files

ABOUT: dict[str, Any] = {"name": "birds", "title": "B", "homepage": "", "license": "MIT"}
ONE, TWO = b"[1]", b"[22]"
DAY = time.gmtime(1764500000)


@pytest.fixture(autouse=True)
def a_day(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(time, "gmtime", lambda: DAY)


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def images(*files: UpstreamFile) -> ImageCollection:
    return ImageCollection(**ABOUT, files=files, folders=({"path": "birds"},))


def source(*files: UpstreamFile, records: Sequence[str] = ("*.json",)) -> Source:
    return Source(**ABOUT, files=files, layout="llava", records=tuple(records))


class Place:
    """Manifests beside a data directory."""

    def __init__(self, root: Path) -> None:
        self.root, self.raw = root, root / "data" / "raw" / "birds"
        self.locks = LockFiles(root / "manifests", root / "data" / "locks")
        for kind in ("images", "sources", "benchmarks"):
            (root / "manifests" / kind).mkdir(parents=True)
            (root / "manifests" / kind / "birds.yaml").touch()
        self.raw.mkdir(parents=True)

    def lock(self, kind: str = "images") -> Path:
        return self.root / "manifests" / kind / "birds.lock"

    def obtain(self, *manifests: Publication) -> dict[str, str]:
        return fetch_files(manifests, self.raw, (), self.locks)

    def refused(self, *manifests: Publication) -> UserError:
        with pytest.raises(UserError) as error:
            self.obtain(*manifests)
        return error.value


@pytest.fixture
def here(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_the_first_download_writes_an_entry(here: Place) -> None:
    with scripted(said(body=ONE)) as server:
        here.obtain(images(UpstreamFile(path="a.bin", url=f"{server.url}/a.bin")))
    assert here.lock().read_text() == (
        f'{{"path":"a.bin","bytes":3,"sha256":"{sha256(ONE)}",'
        f'"address":"{server.url}/a.bin","fetched":"2025-11-30"}}\n'
    )


def test_a_file_with_a_sha256_in_the_manifest_gets_no_entry(here: Place) -> None:
    with scripted(said(body=ONE)) as server:
        here.obtain(
            images(UpstreamFile(path="a.bin", url=f"{server.url}/a.bin", sha256=sha256(ONE)))
        )
    assert not here.lock().exists()


def test_another_version_is_refused_until_its_entry_is_removed(here: Place) -> None:
    with scripted(said(body=ONE), said(body=TWO)) as server:
        manifest = images(UpstreamFile(path="a.bin", url=f"{server.url}/a.bin"))
        here.obtain(manifest)
        (here.raw / "a.bin").unlink()
        error = here.refused(manifest)
        where = f"{here.lock()}, line 1"
        assert error.problem == (
            f"cannot be fetched: {server.url}/a.bin has 4 bytes, {where} says 3"
        )
        assert error.remedy == (
            f"put the version of 2025-11-30 there ({server.url}/a.bin); to accept the new version "
            f"instead, leave out {where} and run the same command again"
        )
        assert list(here.raw.iterdir()) == []
        here.lock().write_text("")
        assert here.obtain(manifest) == {"a.bin": sha256(TWO)}
    assert json.loads(here.lock().read_text())["sha256"] == sha256(TWO)


def test_another_version_of_the_same_size_is_refused_by_its_sha256(here: Place) -> None:
    with scripted(said(body=ONE), said(body=b"[2]")) as server:
        manifest = images(UpstreamFile(path="a.bin", url=f"{server.url}/a.bin"))
        here.obtain(manifest)
        (here.raw / "a.bin").unlink()
        problem = here.refused(manifest).problem
    assert f"has sha256 {sha256(b'[2]')}, {here.lock()}, line 1 says {sha256(ONE)}" in problem
    assert list(here.raw.iterdir()) == []


def test_a_file_changed_on_disk_is_an_error_and_kept(here: Place) -> None:
    with scripted(said(body=ONE)) as server:
        manifest = images(UpstreamFile(path="a.bin", url=f"{server.url}/a.bin"))
        here.obtain(manifest)
        (here.raw / "a.bin").write_bytes(b"[7]")
        error = here.refused(manifest)
    assert error.where == str(here.raw / "a.bin")
    assert f"{here.lock()}, line 1 says {sha256(ONE)}" in error.problem
    assert (here.raw / "a.bin").read_bytes() == b"[7]"


def test_a_file_put_in_place_by_hand_is_locked_when_it_is_first_used(here: Place) -> None:
    manifest = images(
        UpstreamFile(path="a.bin", by_hand="Ask."), UpstreamFile(path="b.bin", url="http://h/b")
    )
    (here.raw / "a.bin").write_bytes(ONE)
    (here.raw / "b.bin").write_bytes(TWO)
    here.obtain(manifest)
    lines = [json.loads(line) for line in here.lock().read_text().splitlines()]
    assert [(line["path"], line["address"]) for line in lines] == [("a.bin", None), ("b.bin", None)]
    (here.raw / "a.bin").write_bytes(TWO)
    assert "(it was put in place by hand)" in here.refused(manifest).remedy


def test_records_and_ids_put_in_place_by_hand_are_not_locked(here: Place) -> None:
    file = UpstreamFile(path="a.json", by_hand="Write it.")
    ids = Benchmark(
        **ABOUT,
        files=(file,),
        id_files=("a.json",),
        id_pattern="x",
        images=("birds",),
        image_paths=("birds/{id}",),
    )
    for manifest in (source(file), ids):
        for content in (ONE, TWO):
            (here.raw / "a.json").write_bytes(content)
            assert here.obtain(manifest) == {"a.json": sha256(content)}
    assert not here.lock("sources").exists() and not here.lock("benchmarks").exists()


def test_an_archive_of_records_put_in_place_by_hand_is_locked(here: Place) -> None:
    (here.raw / "a.json").write_bytes(ONE)
    here.obtain(source(UpstreamFile(path="a.json", by_hand="Ask."), records=["b.json"]))
    assert here.lock("sources").exists()


def test_a_file_of_the_wrong_kind_is_not_locked(here: Place) -> None:
    page = b"<!doctype html><html>Sign in</html>"
    (here.raw / "a.bin").write_bytes(page)
    here.obtain(images(UpstreamFile(path="a.bin", by_hand="Ask.")))
    (here.raw / "a.zip").write_bytes(page)
    assert (
        "is an HTML page"
        in here.refused(images(UpstreamFile(path="a.zip", by_hand="Ask."))).problem
    )
    assert not here.lock().exists()


def test_manifests_that_share_a_folder_have_separate_locks(here: Place) -> None:
    (here.raw / "a.bin").write_bytes(ONE)
    file = UpstreamFile(path="a.bin", by_hand="Ask.")
    here.obtain(images(file), source(file))
    assert here.lock("images").read_bytes() == here.lock("sources").read_bytes()


def test_the_order_of_downloads_does_not_change_the_lock(tmp_path: Path) -> None:
    texts = set()
    for number, order in enumerate(permutations(("c", "a/b", "a"))):
        place = Place(tmp_path / str(number))
        for path in order:
            place.locks.add_entry(images(), path, 3, sha256(path.encode()), "http://h/x")
        texts.add(place.lock().read_text())
    (text,) = texts
    assert [json.loads(line)["path"] for line in text.splitlines()] == ["a", "a/b", "c"]


def test_read_only_manifests_have_their_lock_in_the_data_directory(
    here: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    here.locks.add_entry(images(), "a.bin", 3, sha256(ONE), None)
    beside = here.root / "manifests"
    allowed = os.access
    monkeypatch.setattr(
        os, "access", lambda path, mode: beside not in Path(path).parents and allowed(path, mode)
    )
    before = here.lock().read_bytes()
    found = here.locks.add_entry(images(), "b.bin", 3, sha256(TWO), None)
    spare = here.root / "data" / "locks" / "images" / "birds.lock"
    assert found.location == f"{spare}, line 1"
    assert here.lock().read_bytes() == before
    for path, where in {"a.bin": here.lock(), "b.bin": spare}.items():
        known = here.locks.find_entry(images(), path)
        assert known is not None and known.location == f"{where}, line 1"


@pytest.mark.parametrize("line", ["<<<<<<< HEAD", "{}", "", '{"path":"a"', "\x00", "[1]"])
def test_an_invalid_line_is_an_error(line: str, here: Place) -> None:
    here.locks.add_entry(images(), "a.bin", 3, sha256(ONE), None)
    here.lock().write_text(f"{here.lock().read_text()}{line}\n")
    error = here.refused(images(UpstreamFile(path="b.bin", by_hand="Ask.")))
    assert error.where == f"{here.lock()}, line 2"
    assert error.problem.startswith("is not a valid lock entry")
    assert error.remedy == "restore the file from version control, or leave the line out"


def test_concurrent_runs_lose_no_entry_and_agree_on_one_version(here: Place) -> None:
    begun = Barrier(6)

    def run(name: str) -> list[str]:
        begun.wait()
        agreed = []
        for number in range(8):
            found = here.locks.add_entry(images(), f"{number}", 1, name * 64, None)
            agreed.append(found.entry.sha256[0])
            here.locks.add_entry(images(), f"{name}{number}", 1, "0" * 64, None)
        return agreed

    with ThreadPoolExecutor(6) as threads:
        said_by = list(threads.map(run, "abcdef"))
    lines = [json.loads(line) for line in here.lock().read_text().splitlines()]
    paths = [line["path"] for line in lines]
    assert paths == sorted({f"{name}{n}" for name in ("", *"abcdef") for n in range(8)})
    written = [line["sha256"][0] for line in lines if len(line["path"]) == 1]
    assert said_by == [written] * 6


def test_a_second_run_with_another_version_is_refused(here: Place) -> None:
    with scripted(said(body=ONE)) as server:
        manifest = images(UpstreamFile(path="a.bin", url=f"{server.url}/a.bin"))
        locked = here.locks.find_entry
        here.locks.add_entry(manifest, "a.bin", 4, sha256(TWO), None)
        # The other run wrote its entry after this one had read the file.
        answers = iter([None])
        here.locks.find_entry = lambda *asked: next(answers, locked(*asked))  # type: ignore[method-assign]
        problem = here.refused(manifest).problem
    assert f"has sha256 {sha256(ONE)}, {here.lock()}, line 1 says {sha256(TWO)}" in problem
    assert list(here.raw.iterdir()) == []


def packed(world: World) -> None:
    """Add a source with a file that no layout reads."""
    files = [{"path": name, "by_hand": "put it there"} for name in ("records.json", "ids.csv")]
    world.file("own", "ids.csv", ONE)
    world.source("own", [record(0)], files=files)


def test_a_changed_lock_reruns_a_finished_stage(world: World) -> None:
    packed(world)
    build = world.build({"own": 1})
    assert build.raw("own").built and not build.raw("own").built
    lock = world.manifests / "sources" / "own.lock"
    text = lock.read_text()
    lock.write_text(text.replace(sha256(ONE), sha256(TWO)))
    with pytest.raises(UserError, match=f"says {sha256(TWO)}"):
        build.raw("own")
    lock.unlink()
    assert build.raw("own").built
    assert lock.read_text() == text
    assert not build.raw("own").built


def test_the_origin_of_each_checksum_is_reported(here: Place) -> None:
    files = [
        UpstreamFile(path="a", url="http://h/a", sha256=sha256(ONE)),
        UpstreamFile(path="b", url="http://h/b"),
        UpstreamFile(path="c.json", by_hand="Write it."),
    ]
    here.locks.add_entry(source(), "b", 3, sha256(TWO), "http://h/b")
    held = checksum_origins([source(*files)], here.locks)
    where = f"{here.lock('sources')}, line 1"
    assert held == {"a": "the manifest", "b": where, "c.json": "nothing"}
