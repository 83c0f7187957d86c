"""Downloads from a local web server that misbehaves on request."""

import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from imp_data.errors import UserError
from imp_data.manifests import Publication, UpstreamFile
from imp_data.raw import retries
from imp_data.raw.fetch import fetch_files, mirrors_from_environment
from imp_data.storage.digests import file_sizes
from imp_data.storage.paths import parse_path

BIRDS = bytes(range(256)) * 1000
DIGEST = hashlib.sha256(BIRDS).hexdigest()


class Upstream(ThreadingHTTPServer):
    """Serves `files`, records requests in `asked`, and applies one of its `tricks` per request."""

    def __init__(self, handler: type["Handler"]) -> None:
        super().__init__(("127.0.0.1", 0), handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.files: dict[str, bytes] = {}
        self.etag: str | None = None
        self.asked: list[tuple[str, dict[str, str]]] = []
        self.tricks: list[dict[str, Any]] = []

    def ranges(self) -> list[str | None]:
        return [headers.get("Range") for _, headers in self.asked]


class Handler(BaseHTTPRequestHandler):
    server: Upstream

    def do_GET(self) -> None:
        """Send one response; a trick sets `status`, `headers`, where to `cut` it, and the like."""
        self.server.asked.append((self.path, dict(self.headers)))
        trick = self.server.tricks.pop(0) if self.server.tricks else {}
        content = self.server.files.get(self.path)
        status, body, headers = self._rest(content, 0 if trick.get("deaf") else self._begin())
        self.send_response(trick.get("status", status))
        if trick.get("length", True):
            headers["Content-Length"] = str(len(body))
        if self.server.etag:
            headers["ETag"] = self.server.etag
        for name, value in (headers | trick.get("headers", {})).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body[: trick.get("cut")])

    def _begin(self) -> int:
        same = self.headers.get("If-Range", self.server.etag) == self.server.etag
        asked = self.headers.get("Range")
        return int(asked.removeprefix("bytes=").removesuffix("-")) if asked and same else 0

    def _rest(self, content: bytes | None, begin: int) -> tuple[int, bytes, dict[str, str]]:
        if content is None:
            return 404, b"", {}
        if begin >= len(content):
            return 416, b"", {}
        if begin:
            span = f"bytes {begin}-{len(content) - 1}/{len(content)}"
            return 206, content[begin:], {"Content-Range": span}
        return 200, content, {}

    def log_message(self, format: str, *args: Any) -> None:
        """Log nothing."""


@contextmanager
def serving(handler: type[Handler] = Handler) -> Iterator[Upstream]:
    with Upstream(handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    with serving() as server:
        server.files["/birds.bin"] = BIRDS
        yield server


@pytest.fixture
def mirror() -> Iterator[Upstream]:
    with serving() as server:
        yield server


@pytest.fixture(autouse=True)
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Record pauses instead of sleeping; remove token and proxy from the environment."""
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    waited: list[float] = []
    monkeypatch.setattr(retries, "sleep", waited.append)
    return waited


def birds(*files: UpstreamFile) -> list[Publication]:
    """Return a manifest named birds with those files."""
    return [Publication(name="birds", title="Birds", homepage="", license="MIT", files=files)]


def stated(upstream: Upstream, path: str = "birds.bin") -> UpstreamFile:
    """Return the file with address, size and checksum."""
    return UpstreamFile(path=path, url=f"{upstream.url}/{path}", bytes=len(BIRDS), sha256=DIGEST)


def unstated(upstream: Upstream) -> UpstreamFile:
    """Return the file with its address only."""
    return UpstreamFile(path="birds.bin", url=f"{upstream.url}/birds.bin")


def names(folder: Path) -> list[str]:
    return sorted(f.relative_to(folder).as_posix() for f in folder.rglob("*") if f.is_file())


def test_a_file_is_downloaded_verified_and_moved_into_place(
    upstream: Upstream, tmp_path: Path
) -> None:
    assert fetch_files(birds(stated(upstream)), tmp_path) == {"birds.bin": DIGEST}
    assert (tmp_path / "birds.bin").read_bytes() == BIRDS
    assert names(tmp_path) == ["birds.bin"]


def test_a_file_goes_into_the_folder_its_path_names(upstream: Upstream, tmp_path: Path) -> None:
    file = UpstreamFile(path="train/a b.bin", url=f"{upstream.url}/birds.bin")
    assert fetch_files(birds(file), tmp_path / "raw") == {"train/a b.bin": DIGEST}
    assert names(tmp_path) == ["raw/train/a b.bin"]


def test_an_existing_file_is_verified_and_not_requested(upstream: Upstream, tmp_path: Path) -> None:
    (tmp_path / "birds.bin").write_bytes(BIRDS)
    assert fetch_files(birds(stated(upstream)), tmp_path, [upstream.url]) == {"birds.bin": DIGEST}
    assert upstream.asked == []


@pytest.mark.parametrize("content", [BIRDS[:-1], BIRDS[:-1] + b"?"], ids=["size", "checksum"])
def test_a_damaged_file_is_an_error_with_a_remedy(
    upstream: Upstream, tmp_path: Path, content: bytes
) -> None:
    path = tmp_path / "birds.bin"
    path.write_bytes(content)
    with pytest.raises(UserError) as error:
        fetch_files(birds(stated(upstream)), tmp_path)
    assert error.value.where == str(path)
    assert error.value.problem in {
        "has 255,999 bytes, the manifest says 256,000",
        f"has sha256 {hashlib.sha256(content).hexdigest()}, the manifest says {DIGEST}",
    }
    assert error.value.remedy.startswith("move it elsewhere")
    assert "correct its sha256 and bytes" in error.value.remedy
    assert path.read_bytes() == content


def test_a_download_resumes_a_killed_one(upstream: Upstream, tmp_path: Path) -> None:
    (tmp_path / ".birds.bin.part").write_bytes(BIRDS[:1000])
    assert fetch_files(birds(stated(upstream)), tmp_path) == {"birds.bin": DIGEST}
    assert upstream.ranges() == ["bytes=1000-"]
    assert names(tmp_path) == ["birds.bin"]


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in an in-memory object store with an empty scratch folder."""
    monkeypatch.setenv("IMP_SCRATCH", str(tmp_path / "scratch"))
    return parse_path(f"memory://{tmp_path}/birds")


def test_a_download_for_a_store_resumes_in_scratch_and_is_uploaded_once_verified(
    upstream: Upstream, store: Path, tmp_path: Path
) -> None:
    upstream.tricks = [{"cut": 1000}, {"status": 403}]
    with pytest.raises(UserError, match="answers HTTP 403"):
        fetch_files(birds(stated(upstream)), store)
    assert file_sizes(store) == {}
    assert fetch_files(birds(stated(upstream)), store) == {"birds.bin": DIGEST}
    assert upstream.ranges() == [None, "bytes=1000-", "bytes=1000-"]
    assert (store / "birds.bin").read_bytes() == BIRDS
    assert names(tmp_path / "scratch") == []
    assert fetch_files(birds(stated(upstream)), store) == {"birds.bin": DIGEST}
    assert len(upstream.asked) == 3


def test_a_damaged_object_is_an_error(upstream: Upstream, store: Path) -> None:
    (store / "birds.bin").write_bytes(BIRDS[:-1])
    with pytest.raises(UserError, match="the manifest says 256,000") as error:
        fetch_files(birds(stated(upstream)), store)
    assert error.value.where == str(store / "birds.bin")


def test_a_complete_partial_file_is_not_requested_again(upstream: Upstream, tmp_path: Path) -> None:
    (tmp_path / ".birds.bin.part").write_bytes(BIRDS)
    assert fetch_files(birds(stated(upstream)), tmp_path) == {"birds.bin": DIGEST}
    assert upstream.asked == []


def test_a_server_without_ranges_sends_the_whole_file_again(
    upstream: Upstream, tmp_path: Path
) -> None:
    (tmp_path / ".birds.bin.part").write_bytes(BIRDS[:1000])
    upstream.tricks = [{"deaf": True}]
    assert fetch_files(birds(stated(upstream)), tmp_path) == {"birds.bin": DIGEST}
    assert upstream.ranges() == ["bytes=1000-"]


def test_a_partial_file_longer_than_the_whole_is_discarded(
    upstream: Upstream, tmp_path: Path
) -> None:
    (tmp_path / ".birds.bin.part").write_bytes(BIRDS + b"more")
    assert fetch_files(birds(stated(upstream)), tmp_path) == {"birds.bin": DIGEST}
    assert upstream.ranges() == ["bytes=256004-", None]


def test_a_wrong_partial_file_is_discarded_after_a_checksum_mismatch(
    upstream: Upstream, tmp_path: Path
) -> None:
    (tmp_path / ".birds.bin.part").write_bytes(b"x" * 1000)
    assert fetch_files(birds(stated(upstream)), tmp_path) == {"birds.bin": DIGEST}
    assert upstream.ranges() == ["bytes=1000-", None]


def test_an_interrupted_download_is_resumed(
    upstream: Upstream, tmp_path: Path, pauses: list[float]
) -> None:
    upstream.tricks = [{"cut": 1000}, {"cut": 500}]
    assert fetch_files(birds(stated(upstream)), tmp_path) == {"birds.bin": DIGEST}
    assert upstream.ranges() == [None, "bytes=1000-", "bytes=1500-"]
    assert pauses == [1.0, 1.0]


def test_without_a_checksum_only_the_same_version_is_resumed(
    upstream: Upstream, tmp_path: Path
) -> None:
    upstream.etag, upstream.tricks = '"nought"', [{"cut": 1000}, {"cut": 18}, {"status": 403}]
    with pytest.raises(UserError, match="answers HTTP 403"):
        fetch_files(birds(unstated(upstream)), tmp_path)
    assert upstream.ranges() == [None, "bytes=1000-", "bytes=1018-"]
    assert upstream.asked[1][1]["If-Range"] == '"nought"'

    upstream.etag = '"one"'
    assert fetch_files(birds(unstated(upstream)), tmp_path) == {"birds.bin": DIGEST}

    (tmp_path / "birds.bin").unlink()
    (tmp_path / ".birds.bin.part").write_bytes(b"of no known version")
    assert fetch_files(birds(unstated(upstream)), tmp_path) == {"birds.bin": DIGEST}
    assert upstream.ranges()[3:] == ["bytes=1018-", None]
    assert names(tmp_path) == ["birds.bin"]


def test_a_busy_server_is_retried_with_exponential_backoff(
    upstream: Upstream, tmp_path: Path, pauses: list[float]
) -> None:
    upstream.tricks = [{"status": 503}, {"status": 503}]
    assert fetch_files(birds(stated(upstream)), tmp_path) == {"birds.bin": DIGEST}
    assert pauses == [1.0, 2.0]


def test_retry_after_sets_the_pause(
    upstream: Upstream, tmp_path: Path, pauses: list[float]
) -> None:
    long_ago, soon = "Wed, 21 Oct 2015 07:28:00 GMT", "soon"
    said = ["7", "86400", long_ago, soon]
    upstream.tricks = [{"status": 429, "headers": {"Retry-After": value}} for value in said]
    assert fetch_files(birds(stated(upstream)), tmp_path) == {"birds.bin": DIGEST}
    assert pauses == [7.0, 300.0, 0.0, 8.0]


def test_retries_end_if_the_server_keeps_failing(
    upstream: Upstream, tmp_path: Path, pauses: list[float]
) -> None:
    upstream.tricks = [{"status": 500}] * 99
    with pytest.raises(UserError, match=r"birds\.bin fails again and again: HTTP 500"):
        fetch_files(birds(stated(upstream)), tmp_path)
    assert pauses == [1.0, 2.0, 4.0, 8.0, 16.0]


def test_retries_end_if_the_server_always_stops_at_the_same_byte(
    upstream: Upstream, tmp_path: Path, pauses: list[float]
) -> None:
    upstream.tricks = [{"cut": 1000, "deaf": True}] * 99
    with pytest.raises(UserError, match="fails again and again"):
        fetch_files(birds(stated(upstream)), tmp_path)
    assert len(upstream.asked) == 6
    assert (tmp_path / ".birds.bin.part").read_bytes() == BIRDS[:1000]


def test_retries_end_early_if_no_connection_is_possible(
    tmp_path: Path, pauses: list[float]
) -> None:
    with serving() as server:
        gone = stated(server)
    with pytest.raises(UserError, match="cannot be reached") as error:
        fetch_files(birds(gone), tmp_path)
    assert pauses == [1, 2]
    assert "connect this machine" in error.value.remedy
    assert "revision" not in error.value.remedy


@pytest.mark.parametrize("url", ["ftp://127.0.0.1/x", "http://127.0.0.1:x", "birds.bin"])
def test_an_invalid_address_is_not_retried(url: str, tmp_path: Path, pauses: list[float]) -> None:
    with pytest.raises(UserError, match="cannot be requested"):
        fetch_files(birds(UpstreamFile(path="birds.bin", url=url)), tmp_path)
    assert pauses == []


def test_a_download_with_a_wrong_checksum_leaves_nothing(
    upstream: Upstream, tmp_path: Path
) -> None:
    upstream.files["/birds.bin"] = BIRDS[::-1]
    with pytest.raises(UserError) as error:
        fetch_files(birds(stated(upstream)), tmp_path)
    found = hashlib.sha256(BIRDS[::-1]).hexdigest()
    assert error.value.where == str(tmp_path / "birds.bin")
    assert f"has sha256 {found}, the manifest says {DIGEST}" in error.value.problem
    assert "the pinned revision has moved" in error.value.remedy
    assert names(tmp_path) == []
    assert len(upstream.asked) == 1


@pytest.mark.parametrize("length", [True, False], ids=["announced", "unannounced"])
def test_a_download_of_a_wrong_size_leaves_nothing(
    upstream: Upstream, tmp_path: Path, length: bool
) -> None:
    upstream.files["/birds.bin"] = b"<html>Please log in</html>"
    upstream.tricks = [{"length": length}]
    with pytest.raises(UserError, match="has 26 bytes, the manifest says 256,000"):
        fetch_files(birds(stated(upstream)), tmp_path)
    assert names(tmp_path) == []


def test_a_download_larger_than_the_free_space_is_not_started(
    upstream: Upstream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = SimpleNamespace(free=255_000)
    monkeypatch.setattr("shutil.disk_usage", lambda folder: disk)
    with pytest.raises(UserError, match="needs 256,000 bytes, 255,000 are free"):
        fetch_files(birds(unstated(upstream)), tmp_path)
    (tmp_path / ".birds.bin.part").write_bytes(BIRDS[:1000])
    assert fetch_files(birds(stated(upstream)), tmp_path) == {"birds.bin": DIGEST}


def test_an_unwritable_folder_is_an_error(upstream: Upstream, tmp_path: Path) -> None:
    (tmp_path / "raw").write_text("a file where a folder should be")
    with pytest.raises(UserError, match=r"raw/birds\.bin: cannot be read or written"):
        fetch_files(birds(stated(upstream)), tmp_path / "raw")


def test_a_mirror_is_tried_first(upstream: Upstream, mirror: Upstream, tmp_path: Path) -> None:
    mirror.files["/lab/birds/a%20b.bin"] = BIRDS
    file = UpstreamFile(path="a b.bin", url=f"{upstream.url}/birds.bin", sha256=DIGEST)
    assert fetch_files(birds(file), tmp_path, [f"{mirror.url}/lab/"]) == {"a b.bin": DIGEST}
    assert upstream.asked == []


def test_files_missing_or_wrong_at_a_mirror_come_from_upstream(
    upstream: Upstream, mirror: Upstream, tmp_path: Path, pauses: list[float]
) -> None:
    mirror.files["/stale/birds/birds.bin"] = BIRDS[::-1]
    mirrors = [f"{mirror.url}/empty", f"{mirror.url}/stale"]
    assert fetch_files(birds(stated(upstream)), tmp_path, mirrors) == {"birds.bin": DIGEST}
    assert [path for path, _ in mirror.asked] == [
        "/empty/birds/birds.bin",
        "/stale/birds/birds.bin",
    ]
    assert pauses == []


def test_mirrors_are_read_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("IMP_DATA_MIRROR", raising=False)
    assert mirrors_from_environment() == ()
    monkeypatch.setenv("IMP_DATA_MIRROR", "http://a/b, https://c  http://d,")
    assert mirrors_from_environment() == ("http://a/b", "https://c", "http://d")
    monkeypatch.setenv("IMP_DATA_MIRROR", "mirror.lab/imp")
    with pytest.raises(UserError, match=r"IMP_DATA_MIRROR: mirror\.lab/imp is no address"):
        mirrors_from_environment()


def test_files_to_download_manually_are_listed_together_after_the_others(
    upstream: Upstream, tmp_path: Path
) -> None:
    place_it = "Register at rrc.cvc.uab.es, and place it at data/raw/birds/a/one.zip."
    one = UpstreamFile(path="a/one.zip", by_hand=place_it)
    two = UpstreamFile(path="two.zip", bytes=1234, by_hand="Ask its authors.")
    with pytest.raises(UserError) as error:
        fetch_files(birds(one, stated(upstream), two), tmp_path)
    assert str(error.value) == (
        "birds: download these 2 files manually:\n"
        f"  {tmp_path}/a/one.zip (size unknown, licence MIT)\n"
        f"    Register at rrc.cvc.uab.es, and place it at {tmp_path.parent}/birds/a/one.zip.\n"
        f"  {tmp_path}/two.zip (1,234 bytes, licence MIT)\n"
        "    Ask its authors.\n"
        "  What to do: put each there, then run the same command again"
    )
    assert names(tmp_path) == ["birds.bin"]


def test_a_mirror_may_provide_a_file_for_manual_download(mirror: Upstream, tmp_path: Path) -> None:
    mirror.files["/birds/birds.bin"] = BIRDS
    file = UpstreamFile(path="birds.bin", by_hand="Ask its authors.")
    assert fetch_files(birds(file), tmp_path, [mirror.url]) == {"birds.bin": DIGEST}


def test_the_token_is_not_sent_to_other_hosts(
    upstream: Upstream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    fetch_files(birds(stated(upstream)), tmp_path)
    assert "Authorization" not in upstream.asked[0][1]


def test_the_token_does_not_follow_a_redirect_to_another_host(
    upstream: Upstream, mirror: Upstream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    monkeypatch.setenv("HF_ENDPOINT", mirror.url)
    (tmp_path / ".birds.bin.part").write_bytes(BIRDS[:1000])
    mirror.tricks = [{"status": 302, "headers": {"Location": f"{upstream.url}/birds.bin"}}]
    assert fetch_files(birds(stated(mirror)), tmp_path) == {"birds.bin": DIGEST}
    assert mirror.asked[0][1]["Authorization"] == "Bearer hf_secret"
    assert "Authorization" not in upstream.asked[0][1]
    assert upstream.ranges() == ["bytes=1000-"]


def here(path: str, *globs: str) -> list[Publication]:
    return birds(UpstreamFile(path=path, by_hand="Put it here.", unpack=globs))
