"""The raw stage: the files of one name, downloaded, verified and extracted, and local files."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from threading import Event
from typing import Any

from imp_data.errors import REFETCH, UserError
from imp_data.manifests import Limits, Publication, Source, UpstreamFile, model_digest
from imp_data.manifests.lockfile import LockFiles
from imp_data.raw.decompress import compressed_records, decompress_records
from imp_data.raw.expected_file import check_kind
from imp_data.raw.extract import extracted_names
from imp_data.raw.fetch import fetch_files, mirrors_from_environment
from imp_data.raw.image_urls.collection import (
    fetch_url_images,
    url_collections,
    url_files,
    urls_digest,
)
from imp_data.storage.decompressed import decompressed_path, is_decompressed
from imp_data.storage.digests import file_sha256, text_digest
from imp_data.storage.globs import first_altered, matching_files
from imp_data.storage.object_store import exists
from imp_data.storage.stage_cache import StageResult, StageRun, read_stamp, run_stage


# Above 40 lines: the closures of one stage share its arguments.
def run_raw_stage(
    manifests: Sequence[Publication],
    folder: Path,
    stamp: Path,
    pins: Mapping[str, str],
    code: str,
    run: StageRun | None = None,
    locks: LockFiles | None = None,
    limits: Limits | None = None,
    stop: Event | None = None,
) -> StageResult:
    """Download, verify and extract the files of these manifests, which share a folder.

    `pins` are the sha256 by path of generated files; they replace those in the manifests, and
    generated files are not locked. The figures contain the sha256 of each file and of the other
    record files, which were extracted, decompressed or added by a user; which of these are new,
    changed or gone since the last run; and how many images came from URLs, or why not. `limits`
    apply to extraction; `stop`, once set, ends the downloads.
    """
    locks = None if pins else locks
    by_url = url_collections(manifests, folder)

    def outputs() -> list[Path]:
        listed = expanded()
        files = [folder / file.path for m in listed for file in m.files if present(m, file)]
        lists = [path for path in url_files(manifests, folder) if path not in files]
        copies = [
            decompressed_path(folder, _relative(folder, path))
            for path in compressed_records(listed, folder)
        ]
        return [*files, *lists, *_other_records(listed, folder), *copies]

    def present(published: Publication, file: UpstreamFile) -> bool:
        return not published.is_optional(file) or exists(folder / file.path)

    def expanded() -> list[Publication]:
        """Return the manifests with the files that their globs list."""
        return [locks.expand(m) for m in manifests] if locks else list(manifests)

    def build() -> dict[str, Any]:
        pinned = [_with_pins(m, pins) if pins else m for m in manifests]
        found = fetch_files(pinned, folder, mirrors_from_environment(), locks, limits, stop)
        urls = {"urls": fetch_url_images(manifests, folder)} if by_url else {}
        others = {
            _relative(folder, path): _checked_digest(path)
            for path in _other_records(expanded(), folder)
        }
        others |= decompress_records(manifests, folder, limits or Limits(), stop)
        earlier = read_stamp(stamp)
        before = earlier["figures"] if earlier else {"files": found, "unpacked": others}
        if before["files"] == found:
            _check_unaltered(expanded(), folder, before["unpacked"], others)
        digests = {"files": dict(sorted(found.items())), "unpacked": others}
        changes = _changes({**before["files"], **before["unpacked"]}, digests)
        return {**digests, "changes": changes, **urls}

    inputs = {
        "code": code,
        "manifest": model_digest(*manifests),
        "pins": text_digest(*(f"{path} {sha256}" for path, sha256 in sorted(pins.items()))),
        **({"urls": urls_digest(by_url)} if by_url else {}),
    }

    def match_locks(figures: dict[str, Any]) -> bool:
        return locks is None or all(locks.match(m, figures["files"]) for m in manifests)

    return run_stage(stamp, inputs, outputs, build, _output_digest, run, match_locks)


def check_unchanged(folder: Path, patterns: Sequence[str], figures: Mapping[str, Any]) -> None:
    """Raise UserError if a file that a pattern matches has decayed on disk since its stage ran.

    Its size and time are unchanged, or its stage would have run again. An object store reports
    every change, so its files are not read.
    """
    known = {**figures["files"], **figures["unpacked"]}
    if (path := first_altered(folder, patterns, known)) is not None:
        problem = "is damaged: its bytes changed since it was verified, its time did not"
        raise UserError(path, problem, f"{REFETCH}; if you changed it yourself, touch it")


def _output_digest(figures: dict[str, Any]) -> str:
    digests = {**figures["files"], **figures["unpacked"]}
    return text_digest(*(part for path in digests for part in (path, digests[path])))


def _relative(folder: Path, path: Path) -> str:
    return path.relative_to(folder).as_posix()


def _checked_digest(path: Path) -> str:
    check_kind(path)
    return file_sha256(path)


def _with_pins(manifest: Publication, pins: Mapping[str, str]) -> Publication:
    """Return the manifest with the digests of generated files instead of upstream's."""
    files = tuple(
        file.model_copy(update={"sha256": pins.get(file.path), "bytes": None})
        for file in manifest.files
    )
    return manifest.model_copy(update={"files": files})


def _other_records(manifests: Sequence[Publication], folder: Path) -> list[Path]:
    """Return the record files that no manifest lists: extracted, or added by a user."""
    published = {folder / file.path for m in manifests for file in m.files}
    patterns = [p for m in manifests if isinstance(m, Source) for p in m.records]
    found = {path for pattern in patterns for path in matching_files(folder, pattern)}
    return sorted(found - published)


def _check_unaltered(
    manifests: Sequence[Publication],
    folder: Path,
    before: Mapping[str, str],
    now: Mapping[str, str],
) -> None:
    """Raise UserError if a file that was extracted from the same archive has changed."""
    for file in (file for m in manifests for file in m.files if file.unpack):
        for path in set(extracted_names(folder / file.path)) & now.keys() & before.keys():
            if now[path] != before[path]:
                problem = f"was altered since it was unpacked from {file.path}"
                remedy = (
                    "move it out of the raw folder and run the same command again, which extracts "
                    "upstream's version; to build from the altered one, make it a separate source"
                )
                raise UserError(folder / path, problem, remedy)


def _changes(before: Mapping[str, str], digests: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
    """Return `{"a.json": "changed", "b.json": "new"}`, sorted by path."""
    now = {**digests["files"], **digests["unpacked"]}
    # The file that a copy was decompressed from says the same.
    before, now = (
        {path: digest for path, digest in some.items() if not is_decompressed(path)}
        for some in (before, now)
    )
    words = {path: "gone" for path in before.keys() - now.keys()}
    words |= {path: "new" for path in now.keys() - before.keys()}
    words |= {p: "changed" for p in now.keys() & before.keys() if now[p] != before[p]}
    return dict(sorted(words.items()))
