"""Files of the Hub, from a Hub on loopback that the real client talks to."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from loopback_hub import Fault, Hub, serving_hub, sha256

from imp_data.errors import UserError
from imp_data.manifests import Publication, Source, load_manifest
from imp_data.manifests.lockfile import LockFiles
from imp_data.raw import hub_xet, retries
from imp_data.raw.fetch import fetch_files
from imp_data.raw.http_response import RetryableError
from imp_data.raw.stage import run_raw_stage
from imp_data.storage.paths import parse_path

PAGES = bytes(range(256)) * 1000
MORE = PAGES[::-1]
CARD = b"# DocVQA\n"
FILES = {
    "DocVQA/train-00000-of-00002.parquet": b"PAR1" + PAGES,
    "DocVQA/train-00001-of-00002.parquet": b"PAR1" + MORE,
    "DocVQA/test-00000-of-00001.parquet": b"PAR1test",
    "DocVQA/.cache": b"hidden",
    "README.md": CARD,
}
FIRST, SECOND, *_ = FILES
YAML = """
name: pages
title: Pages
homepage: https://example.org
license: MIT
hub: lab/DocVQA
revision: {revision}
files:
  - path: '{path}'
layout: llava
records: ['{path}']
"""


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.delenv("IMP_DATA_MIRROR", raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("HF_HUB_DISABLE_XET", "1")
    with serving_hub() as server:
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        yield server


@pytest.fixture(autouse=True)
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    waited: list[float] = []
    monkeypatch.setattr(retries, "sleep", waited.append)
    return waited


def pages(revision: str, path: str = FIRST, **file: Any) -> Publication:
    """Return a manifest with one file, or one glob, of the dataset."""
    stated = {"title": "Pages", "homepage": "", "license": "MIT", "hub": "lab/DocVQA"}
    files = ({"path": path, **file},)
    return Publication.model_validate(
        {"name": "pages", **stated, "revision": revision, "files": files}
    )


def written(folder: Path, revision: str, path: str) -> tuple[Source, LockFiles]:
    """Write a manifest; return it with its lock files."""
    manifest = folder / "manifests" / "sources" / "pages.yaml"
    manifest.parent.mkdir(parents=True, exist_ok=True)
    manifest.write_text(YAML.format(revision=revision, path=path), encoding="utf-8")
    return load_manifest(manifest, Source), LockFiles(folder / "manifests", folder / "locks")


def lock_lines(folder: Path) -> list[dict[str, Any]]:
    lock = folder / "manifests" / "sources" / "pages.lock"
    return [json.loads(line) for line in lock.read_text().splitlines()]


def names(folder: Path) -> list[str]:
    return sorted(f.relative_to(folder).as_posix() for f in folder.rglob("*") if f.is_file())


def problem_of(manifest: Publication, folder: Path) -> tuple[str, str]:
    with pytest.raises(UserError) as error:
        fetch_files([manifest], folder)
    return error.value.problem, error.value.remedy


def test_a_file_of_the_hub_needs_a_repository_a_commit_and_its_path_alone(
    hub: Hub, tmp_path: Path
) -> None:
    commit = hub.dataset("lab/DocVQA", FILES)
    manifest = pages(commit)
    address = f"https://huggingface.co/datasets/lab/DocVQA/resolve/{commit}/{FIRST}"
    assert manifest.files[0].url == address
    assert fetch_files([manifest], tmp_path) == {FIRST: sha256(FILES[FIRST])}
    assert names(tmp_path) == [FIRST]
    assert not (tmp_path / FIRST).is_symlink()
    assert (tmp_path / FIRST).read_bytes() == FILES[FIRST]
    assert hub.requests("HEAD") == [f"/datasets/lab/DocVQA/resolve/{commit}/{FIRST}"]


def test_a_file_of_a_model_repository_has_an_address_without_datasets(hub: Hub) -> None:
    stated = {"title": "", "homepage": "", "license": "MIT", "files": ({"path": "a b.tar"},)}
    manifest = Publication.model_validate(
        {"name": "pages", **stated, "hub": "models/lab/images", "revision": "0" * 40}
    )
    address = f"https://huggingface.co/lab/images/resolve/{'0' * 40}/a%20b.tar"
    assert manifest.files[0].url == address


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"hub": "lab/DocVQA"}, "revision: `hub` and `revision` belong together"),
        ({"revision": "0" * 40}, "hub: `hub` and `revision` belong together"),
        ({"hub": "DocVQA", "revision": "0" * 40}, "String should match pattern"),
        ({"hub": "lab/DocVQA", "revision": "main"}, "String should match pattern"),
        ({}, "a.zip: give `url`, or describe the download in `by_hand`; for a file of the"),
        (
            {"hub": "a/b", "revision": "0" * 40, "files": [{"path": "*.zip", "bytes": 1}]},
            "a glob has neither `bytes` nor `sha256`",
        ),
    ],
)
def test_incomplete_fields_are_an_error(fields: dict[str, Any], said: str) -> None:
    stated = {"name": "pages", "title": "", "homepage": "", "license": "MIT"}
    with pytest.raises(ValueError, match=said):
        Publication.model_validate_json(
            json.dumps({**stated, "files": [{"path": "a.zip"}], **fields}), strict=True
        )


def test_a_manifest_without_hub_keeps_its_digest() -> None:
    stated = {"name": "pages", "title": "", "homepage": "", "license": "MIT", "files": ()}
    dumped = Publication.model_validate(stated).model_dump_json()
    assert "hub" not in dumped and "revision" not in dumped


def test_a_glob_is_listed_once_and_the_lock_file_keeps_the_list(hub: Hub, tmp_path: Path) -> None:
    commit = hub.dataset("lab/DocVQA", FILES)
    hub.page_entries = 2
    manifest, locks = written(tmp_path, commit, "DocVQA/train-*.parquet")
    raw = tmp_path / "raw"
    expected = {FIRST: sha256(FILES[FIRST]), SECOND: sha256(FILES[SECOND])}
    assert fetch_files([manifest], raw, (), locks) == expected
    assert names(raw) == [FIRST, SECOND]
    day = time.strftime("%Y-%m-%d", time.gmtime())
    assert lock_lines(tmp_path) == [
        {
            "path": path,
            "bytes": 256_004,
            "sha256": digest,
            "address": f"https://huggingface.co/datasets/lab/DocVQA/resolve/{commit}/{path}",
            "fetched": day,
            "glob": "DocVQA/train-*.parquet",
        }
        for path, digest in expected.items()
    ]
    listed = hub.requests("GET", "/tree/")
    assert fetch_files([manifest], raw, (), locks) == expected
    assert hub.requests("GET", "/tree/") == listed


def test_a_glob_matches_no_hidden_file_and_no_other_folder(hub: Hub, tmp_path: Path) -> None:
    manifest = pages(hub.dataset("lab/DocVQA", {**FILES, "a/b/c.parquet": b"PAR1"}), "DocVQA/*")
    assert len(fetch_files([manifest], tmp_path)) == 3
    everything = pages(manifest.revision or "", "**/*.parquet")
    assert len(fetch_files([everything], tmp_path)) == 4


def test_a_small_file_that_git_holds_is_locked_when_it_arrives(hub: Hub, tmp_path: Path) -> None:
    commit = hub.dataset("lab/DocVQA", FILES)
    manifest, locks = written(tmp_path, commit, "*.md")
    hub.faults = [Fault("GET .*/resolve/", status=404)]
    with pytest.raises(UserError, match="answers HTTP 404"):
        fetch_files([manifest], tmp_path / "raw", (), locks)
    assert [line["sha256"] for line in lock_lines(tmp_path)] == [None]
    assert fetch_files([manifest], tmp_path / "raw", (), locks) == {"README.md": sha256(CARD)}
    (line,) = lock_lines(tmp_path)
    assert (line["sha256"], line["glob"]) == (sha256(CARD), "*.md")


def test_another_revision_of_a_glob_replaces_its_list(hub: Hub, tmp_path: Path) -> None:
    first = hub.dataset("lab/DocVQA", FILES)
    manifest, locks = written(tmp_path, first, "DocVQA/train-*")
    fetch_files([manifest], tmp_path / "raw", (), locks)
    second = hub.dataset("lab/DocVQA", {FIRST: FILES[FIRST], "DocVQA/train-2": MORE})
    manifest, locks = written(tmp_path, second, "DocVQA/train-*")
    assert list(fetch_files([manifest], tmp_path / "raw", (), locks)) == [FIRST, "DocVQA/train-2"]
    assert [line["path"] for line in lock_lines(tmp_path)] == [FIRST, "DocVQA/train-2"]


def test_the_raw_stage_of_a_glob_is_skipped_while_nothing_changes(hub: Hub, tmp_path: Path) -> None:
    manifest, locks = written(tmp_path, hub.dataset("lab/DocVQA", FILES), "DocVQA/train-*")
    arguments: Any = ([manifest], tmp_path / "raw", tmp_path / "stamp.json", {}, "1", None, locks)
    assert run_raw_stage(*arguments).built
    asked = len(hub.asked)
    again = run_raw_stage(*arguments)
    assert not again.built and list(again.figures["files"]) == [FIRST, SECOND]
    assert len(hub.asked) == asked
    (tmp_path / "raw" / SECOND).unlink()
    assert run_raw_stage(*arguments).built
    assert (tmp_path / "raw" / SECOND).read_bytes() == FILES[SECOND]


def test_a_glob_that_matches_nothing_is_an_error(hub: Hub, tmp_path: Path) -> None:
    commit = hub.dataset("lab/DocVQA", FILES)
    for path in ("DocVQA/val-*", "InfographicVQA/*"):
        problem, remedy = problem_of(pages(commit, path), tmp_path)
        assert "https://huggingface.co/datasets/lab/DocVQA " in problem
        assert commit in remedy


def test_a_renamed_repository_is_followed(hub: Hub, tmp_path: Path) -> None:
    commit = hub.dataset("new-lab/DocVQA", FILES)
    hub.renamed["datasets/lab/DocVQA"] = "datasets/new-lab/DocVQA"
    for path in (FIRST, "DocVQA/test-*"):
        fetch_files([pages(commit, path)], tmp_path)
    assert len(names(tmp_path)) == 2


@pytest.mark.parametrize(
    ("protection", "token", "revision", "path", "problem", "remedy"),
    [
        (
            {"gated": True}, None, None, FIRST,
            "answers HTTP 401: authentication required",
            "accept its licence at {hub}/datasets/lab/DocVQA, and set HF_TOKEN to a token of that "
            "account",
        ),
        (
            {"gated": True}, "hf_of_another", None, FIRST,
            "answers HTTP 403: authentication required",
            "accept its licence at {hub}/datasets/lab/DocVQA with the account of HF_TOKEN",
        ),
        (
            {"private": True}, None, None, FIRST,
            "answers HTTP 401: {hub}/datasets/lab/DocVQA does not exist, or is private",
            "set HF_TOKEN to a token that may read it",
        ),
        (
            {}, None, "1" * 40, FIRST,
            f"answers HTTP 404: lab/DocVQA has no revision {'1' * 40}",
            "choose a commit at {hub}/datasets/lab/DocVQA/commits/main",
        ),
        (
            {}, None, None, "DocVQA/train.parquet",
            "has no DocVQA/train.parquet", "correct the path; {hub}/datasets/lab/DocVQA/tree/",
        ),
        (
            {}, None, "1" * 40, "DocVQA/*",
            f"answers HTTP 404: lab/DocVQA has no revision {'1' * 40}",
            "choose a commit at {hub}/datasets/lab/DocVQA/commits/main",
        ),
    ],
    ids=["gated", "gated for this account", "private", "revision gone", "path", "glob"],
)  # fmt: skip
def test_a_refusal_says_what_to_do(
    hub: Hub,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    protection: dict[str, bool],
    token: str | None,
    revision: str | None,
    path: str,
    problem: str,
    remedy: str,
) -> None:
    commit = hub.dataset("lab/DocVQA", FILES, **protection)
    if token:
        monkeypatch.setenv("HF_TOKEN", token)
    found = problem_of(pages(revision or commit, path), tmp_path)
    assert problem.format(hub=hub.url) in found[0]
    assert remedy.format(hub=hub.url) in found[1]
    assert hub.requests("GET", "/resolve/") == []
    assert names(tmp_path) == []


def test_a_file_that_is_refused_after_its_metadata_says_what_to_do(
    hub: Hub, tmp_path: Path
) -> None:
    commit = hub.dataset("lab/DocVQA", FILES)
    hub.faults = [Fault("GET .*/resolve/", 403)]
    _, remedy = problem_of(pages(commit), tmp_path)
    page = f"{hub.url}/datasets/lab/DocVQA"
    assert remedy == f"accept its licence at {page}, and set HF_TOKEN to a token of that account"


def test_a_refused_file_may_be_put_in_place_by_hand(hub: Hub, tmp_path: Path) -> None:
    commit = hub.dataset("lab/DocVQA", FILES, gated=True)
    url = pages(commit).files[0].url
    problem, _ = problem_of(pages(commit, url=url, by_hand="Ask the lab."), tmp_path)
    assert "download this file manually:" in problem
    assert "Ask the lab. (" in problem and "HTTP 401" in problem


def test_the_token_opens_a_private_repository_and_stays_on_the_hub(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_loopback_reader")
    commit = hub.dataset("lab/DocVQA", FILES, private=True)
    fetch_files([pages(commit, "DocVQA/train-*")], tmp_path)
    sent = {path: headers.get("authorization") for _, path, headers in hub.asked}
    assert {path for path, token in sent.items() if token is None} == set(
        hub.requests("GET", "/cdn/")
    )
    assert set(sent.values()) == {"Bearer hf_loopback_reader", None}


def test_a_token_file_of_the_client_is_not_read(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "token").write_text("hf_loopback_reader")
    monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", str(tmp_path / "token"))
    problem, _ = problem_of(pages(hub.dataset("lab/DocVQA", FILES, private=True)), tmp_path / "raw")
    assert "HTTP 401" in problem
    assert not any("authorization" in headers for _, _, headers in hub.asked)


def test_a_cut_connection_is_resumed(hub: Hub, tmp_path: Path, pauses: list[float]) -> None:
    commit = hub.dataset("lab/DocVQA", FILES)
    hub.faults = [Fault("GET /cdn/", cut=1000), Fault("GET /cdn/", cut=500)]
    assert fetch_files([pages(commit)], tmp_path) == {FIRST: sha256(FILES[FIRST])}
    assert hub.ranges() == [None, "bytes=1000-", "bytes=1500-"]
    assert pauses == [1.0, 1.0]


@pytest.mark.parametrize("request_line", ["HEAD .*/resolve/", "GET .*/resolve/", "GET /cdn/"])
def test_too_many_requests_are_repeated_when_the_hub_says(
    hub: Hub, tmp_path: Path, pauses: list[float], request_line: str
) -> None:
    commit = hub.dataset("lab/DocVQA", FILES)
    hub.faults = [Fault(request_line, 429, headers={"Retry-After": "7"}), Fault(request_line, 503)]
    assert fetch_files([pages(commit)], tmp_path) == {FIRST: sha256(FILES[FIRST])}
    assert pauses == [7.0, 2.0]


def test_too_many_requests_for_a_list_are_repeated_by_the_client(
    hub: Hub, tmp_path: Path, pauses: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.utils._http.time.sleep", pauses.append)
    commit = hub.dataset("lab/DocVQA", FILES)
    hub.faults = [Fault("GET /api/datasets/", 429, headers={"Retry-After": "7"})]
    assert len(fetch_files([pages(commit, "DocVQA/train-*")], tmp_path)) == 2
    assert pauses[0] == 8.0  # one second more than stated


def test_a_hub_that_cannot_be_reached_is_an_error_with_the_ways_to_it(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.utils._http.time.sleep", lambda seconds: None)
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    problem, remedy = problem_of(pages("0" * 40, "DocVQA/train-*"), tmp_path)
    assert "cannot be listed" in problem and "HF_ENDPOINT" in remedy
    problem, remedy = problem_of(pages("0" * 40), tmp_path)
    assert "cannot be reached" in problem and "connect this machine" in remedy


def test_bytes_that_differ_from_the_hubs_sha256_are_never_kept(hub: Hub, tmp_path: Path) -> None:
    commit = hub.dataset("lab/DocVQA", FILES)
    wrong = b"PAR1" + MORE
    hub.faults = [Fault("GET /cdn/", body=wrong)]
    problem, _ = problem_of(pages(commit), tmp_path)
    assert f"has sha256 {sha256(wrong)}, the Hub says {sha256(FILES[FIRST])}" in problem
    assert names(tmp_path) == []


def test_a_body_of_another_size_is_never_kept(hub: Hub, tmp_path: Path) -> None:
    commit = hub.dataset("lab/DocVQA", FILES)
    hub.faults = [Fault("GET /cdn/", body=b"PAR1")]
    problem, _ = problem_of(pages(commit), tmp_path)
    assert "has 4 bytes, the Hub says 256,004" in problem
    assert names(tmp_path) == []


def test_a_file_that_the_manifest_states_otherwise_is_refused_before_a_byte_moves(
    hub: Hub, tmp_path: Path
) -> None:
    commit = hub.dataset("lab/DocVQA", FILES)
    problem, _ = problem_of(pages(commit, sha256="0" * 64), tmp_path)
    assert f"has sha256 {sha256(FILES[FIRST])}, the manifest says {'0' * 64}" in problem
    problem, _ = problem_of(pages(commit, bytes=7), tmp_path)
    assert "has 256,004 bytes, the manifest says 7" in problem
    problem, _ = problem_of(pages(commit, max_bytes=7), tmp_path)
    assert "has 256,004 bytes, more than the 7 allowed" in problem
    assert hub.requests("GET") == []


KILLED = """
import sys
from pathlib import Path
from imp_data.manifests.lockfile import LockFiles
from imp_data.manifests import Source, load_manifest
from imp_data.raw.fetch import fetch_files
folder = Path(sys.argv[1])
manifest = load_manifest(folder / "manifests" / "sources" / "pages.yaml", Source)
fetch_files([manifest], folder / "raw", (), LockFiles(folder / "manifests", folder / "locks"))
"""


def test_a_killed_download_is_resumed_with_a_range(hub: Hub, tmp_path: Path) -> None:
    commit = hub.dataset("lab/DocVQA", FILES)
    manifest, locks = written(tmp_path, commit, FIRST)
    hub.faults = [Fault("GET /cdn/", cut=100_000, hang=True)]
    part = tmp_path / "raw" / "DocVQA" / ".train-00000-of-00002.parquet.part"
    with subprocess.Popen([sys.executable, "-c", KILLED, str(tmp_path)]) as process:
        while not (part.exists() and part.stat().st_size):
            assert process.poll() is None
            time.sleep(0.01)
        process.kill()
    arrived = part.stat().st_size
    assert 0 < arrived <= 100_000
    assert fetch_files([manifest], tmp_path / "raw", (), locks) == {FIRST: sha256(FILES[FIRST])}
    assert hub.ranges() == [None, f"bytes={arrived}-"]
    assert names(tmp_path / "raw") == [FIRST]


def test_a_data_directory_in_an_object_store_gets_the_files_of_a_glob(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IMP_SCRATCH", str(tmp_path / "scratch"))
    store = parse_path(f"memory://{tmp_path}/pages")
    manifest = pages(hub.dataset("lab/DocVQA", FILES), "DocVQA/train-*")
    assert list(fetch_files([manifest], store)) == [FIRST, SECOND]
    assert (store / SECOND).read_bytes() == FILES[SECOND]
    assert names(tmp_path / "scratch") == []


class Xet:
    """Stands in for hf_xet, whose storage the Hub on loopback does not have."""

    def __init__(self, content: bytes, fails_at: int | None = None) -> None:
        self.content, self.fails_at, self.starts = content, fails_at, list[int]()

    def blocks(self, xet: Any, size: int, begin: int) -> Iterator[bytes]:
        self.starts.append(begin)
        for place in range(begin, size, 1000):
            if self.fails_at is not None and place >= self.fails_at:
                raise RetryableError("Xet storage fails", pause_seconds=0)
            yield self.content[place : place + 1000]


@pytest.mark.parametrize("fails_at", [None, 5000])
def test_xet_storage_is_streamed_and_a_failure_continues_without_it(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails_at: int | None
) -> None:
    commit, xet = hub.dataset("lab/DocVQA", FILES), Xet(FILES[FIRST], fails_at)
    stated = {"X-Xet-Hash": "a" * 64, "X-Xet-Refresh-Route": f"{hub.url}/api/xet"}
    hub.faults = [Fault("HEAD .*/resolve/", headers=stated)]
    monkeypatch.setattr("imp_data.raw.hub_download.xet_blocks", xet.blocks)
    monkeypatch.setattr("imp_data.raw.hub_download.xet_is_available", lambda: True)
    (tmp_path / "DocVQA").mkdir()
    (tmp_path / "DocVQA" / ".train-00000-of-00002.parquet.part").write_bytes(FILES[FIRST][:2000])
    assert fetch_files([pages(commit)], tmp_path) == {FIRST: sha256(FILES[FIRST])}
    assert xet.starts == [2000]
    assert hub.ranges() == ([] if fails_at is None else ["bytes=5000-"])


def test_hf_xet_has_the_calls_that_are_made() -> None:
    hf_xet = pytest.importorskip("hf_xet")
    assert hf_xet.XetFileInfo("a" * 64, 7)
    assert hasattr(hf_xet.XetSession, "new_download_stream_group")
    assert hasattr(hf_xet.XetDownloadStreamGroup, "download_stream")


def test_xet_storage_that_cannot_be_reached_is_a_transient_error(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    xet = SimpleNamespace(file_hash="a" * 64, refresh_route=f"{hub.url}/api/none/none/xet")
    with pytest.raises(RetryableError, match=r"Xet storage fails: .*404"):
        list(hub_xet.xet_blocks(xet, 7, 0))
