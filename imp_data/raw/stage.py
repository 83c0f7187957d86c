"""A raw folder: what is published under one name, fetched and unpacked, and files of one's own."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from imp_data.errors import ANEW, UserError
from imp_data.manifests import Limits, Published, Source, model_digest
from imp_data.manifests.lockfile import Locks
from imp_data.raw.expected_file import check_kind
from imp_data.raw.extract import extracted_names
from imp_data.raw.fetch import mirrors_from_environment, obtain
from imp_data.storage.digests import file_sha256, text_digest
from imp_data.storage.globs import first_altered, matching
from imp_data.storage.stage_cache import Run, StageResult, read_stamp, run_stage


def raw_stage(
    manifests: Sequence[Published],
    folder: Path,
    stamp: Path,
    pins: Mapping[str, str],
    code: str,
    run: Run | None = None,
    locks: Locks | None = None,
    limits: Limits | None = None,
) -> StageResult:
    """Fetch, verify and unpack what these manifests, which share a folder, publish.

    `locks` hold what was learned of files whose manifest states no sha256; no drawn file is locked.

    `pins` are sha256 by path of drawn files, in the place of what the manifests state of
    upstream's. The figures hold the sha256 of each file, and of the other record files: those that
    were unpacked from it, and those that a person has put there; and, since the last run, which
    of these are new, changed or gone. `limits` are of what is unpacked.
    """
    files = [file.path for m in manifests for file in m.files]
    locks = None if pins else locks

    def outputs() -> list[Path]:
        return [*(folder / path for path in files), *_others(manifests, folder)]

    def build() -> dict[str, Any]:
        pinned = [_pinned(m, pins) if pins else m for m in manifests]
        found = obtain(pinned, folder, mirrors_from_environment(), locks, limits)
        others = {_below(folder, path): _digest_of(path) for path in _others(manifests, folder)}
        known = read_stamp(stamp)
        before = known["figures"] if known else {"files": found, "unpacked": others}
        if before["files"] == found:
            _refuse_altered(manifests, folder, before["unpacked"], others)
        told = {"files": dict(sorted(found.items())), "unpacked": others}
        return {**told, "changes": _changes({**before["files"], **before["unpacked"]}, told)}

    inputs = {
        "code": code,
        "manifest": model_digest(*manifests),
        "pins": text_digest(*(f"{path} {sha256}" for path, sha256 in sorted(pins.items()))),
    }

    def digest_of(figures: dict[str, Any]) -> str:
        digests = {**figures["files"], **figures["unpacked"]}
        return text_digest(*(part for path in digests for part in (path, digests[path])))

    def holds(figures: dict[str, Any]) -> bool:
        return locks is None or all(locks.agree(m, figures["files"]) for m in manifests)

    return run_stage(stamp, inputs, outputs, build, digest_of, run, holds)


def check_unchanged(folder: Path, patterns: Sequence[str], figures: Mapping[str, Any]) -> None:
    """Raise UserError if a file of a raw folder that a pattern names rotted since its stage ran.

    Its size and time are the same, or its stage would have run again. An object store tells of
    every change, so there nothing is read.
    """
    known = {**figures["files"], **figures["unpacked"]}
    if (path := first_altered(folder, patterns, known)) is not None:
        problem = "is damaged: its bytes changed since it was verified, its time did not"
        raise UserError(path, problem, f"{ANEW}; if you changed it yourself, touch it")


def _below(folder: Path, path: Path) -> str:
    return path.relative_to(folder).as_posix()


def _digest_of(path: Path) -> str:
    check_kind(path)
    return file_sha256(path)


def _pinned(manifest: Published, pins: Mapping[str, str]) -> Published:
    """The manifest with the digests of drawn files in the place of upstream's."""
    files = tuple(
        file.model_copy(update={"sha256": pins.get(file.path), "bytes": None})
        for file in manifest.files
    )
    return manifest.model_copy(update={"files": files})


def _others(manifests: Sequence[Published], folder: Path) -> list[Path]:
    """The record files that no manifest publishes by itself: unpacked, or put there by a person."""
    published = {folder / file.path for m in manifests for file in m.files}
    patterns = [p for m in manifests if isinstance(m, Source) for p in m.records]
    found = {path for pattern in patterns for path in matching(folder, pattern)}
    return sorted(found - published)


def _refuse_altered(
    manifests: Sequence[Published], folder: Path, before: Mapping[str, str], now: Mapping[str, str]
) -> None:
    """Raise UserError if a file that was unpacked from the same archive is not what it was."""
    for file in (file for m in manifests for file in m.files if file.unpack):
        for path in set(extracted_names(folder / file.path)) & now.keys() & before.keys():
            if now[path] != before[path]:
                problem = f"was altered since it was unpacked from {file.path}"
                remedy = (
                    "move it out of the raw folder and run the same command again, which unpacks "
                    "upstream's; to build from the altered one, make it a source of your own"
                )
                raise UserError(folder / path, problem, remedy)


def _changes(before: Mapping[str, str], told: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
    """`{"b.json": "new", "a.json": "changed"}`, in the order of the paths."""
    now = {**told["files"], **told["unpacked"]}
    words = {path: "gone" for path in before.keys() - now.keys()}
    words |= {path: "new" for path in now.keys() - before.keys()}
    words |= {p: "changed" for p in now.keys() & before.keys() if now[p] != before[p]}
    return dict(sorted(words.items()))
