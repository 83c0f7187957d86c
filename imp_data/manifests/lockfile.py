"""Lock files: size and sha256 of downloaded files whose manifest states no sha256.

`manifests/sources/dvqa.lock` contains one line of JSON per file, sorted by path: its path, bytes,
sha256, the address it came from (null: put in place by hand) and the day (UTC). It belongs under
version control. If the manifests' folder is not writable, new lines go into
`locks/<kind>/<name>.lock` of the data directory; both files are read.

For a glob of files on the Hub the lines are written when the Hub lists the files, before any
download. Such a line has the glob too, and its sha256 is null until the download if the Hub states
none (git, not LFS, holds a small file).
"""

import fcntl
import os
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import NamedTuple

import orjson
from pydantic import Field, ValidationError

from imp_data.errors import UserError
from imp_data.manifests import (
    MANIFEST_KINDS,
    Benchmark,
    Publication,
    Source,
    StrictModel,
    UpstreamFile,
)
from imp_data.manifests.earlier_names import kind_dir
from imp_data.manifests.fields import Count, Sha256
from imp_data.manifests.hub_address import parse_hub_url
from imp_data.redaction import address, redact
from imp_data.storage.atomic_write import write_text
from imp_data.storage.globs import matches_glob
from imp_data.storage.object_store import exists

# Downloads of one run write their lines in several threads.
_WRITES = threading.Lock()


class LockEntry(StrictModel):
    """One line of a lock file: the only accepted version of a file."""

    path: str
    bytes: Count
    sha256: Sha256 | None
    address: str | None
    fetched: str
    glob: str | None = Field(None, exclude_if=lambda glob: glob is None)

    def to_json(self) -> str:
        """Return `{"path":"qa.tar.gz","bytes":…,"sha256":"…","address":"…","fetched":"…"}`."""
        return orjson.dumps(self.model_dump()).decode()


class LocatedEntry(NamedTuple):
    """An entry and its location: `manifests/sources/dvqa.lock, line 1`."""

    entry: LockEntry
    location: str


class LockFiles:
    """The lock files in `manifests_dir` and in `locks_dir`, the fallback in a data directory."""

    def __init__(self, manifests_dir: Path, locks_dir: Path) -> None:
        self._manifests_dir, self._locks_dir = manifests_dir, locks_dir

    def read_entries(self, published: Publication) -> dict[str, LocatedEntry]:
        """Return a manifest's entries by path; the file beside the manifest takes precedence."""
        return {
            entry.path: LocatedEntry(entry, f"{lock}, line {number}")
            for lock in reversed(self._files(published))
            for number, entry in enumerate(_read(lock), 1)
        }

    def find_entry(self, published: Publication, path: str) -> LocatedEntry | None:
        """Return the entry of a file."""
        return self.read_entries(published).get(path)

    def find_listing(self, published: Publication, file: UpstreamFile) -> list[LocatedEntry]:
        """Return the entries of a glob's files at its revision; none if it was never listed."""
        return [
            found
            for found in self.read_entries(published).values()
            if found.entry.glob == file.path
            and _revision(found.entry.address) == _revision(file.url)
        ]

    def expand(self, published: Publication) -> Publication:
        """Return the manifest with the files of its globs; a glob never listed stays."""
        if not any(file.is_glob for file in published.files):
            return published
        files: list[UpstreamFile] = []
        for file in published.files:
            listed = self.find_listing(published, file) if file.is_glob else []
            places = [{"path": one.entry.path, "url": one.entry.address} for one in listed]
            files += [file.model_copy(update=place) for place in places] or [file]
        return published.model_copy(update={"files": tuple(files)})

    def add_listing(
        self, published: Publication, file: UpstreamFile, listed: Sequence[LockEntry]
    ) -> None:
        """Write the entries of a glob's files; they replace those of another revision."""
        with self._target(published) as target:
            own = {entry.path for entry in listed}
            kept = [e for e in _read(target) if e.glob != file.path and e.path not in own]
            _write(target, [*kept, *listed])

    def add_entry(
        self, published: Publication, path: str, size: int, sha256: str, url: str | None
    ) -> LocatedEntry:
        """Write a file's entry unless there is one; return the entry that holds.

        Another run may have written its entry first.
        """
        shown = None if url is None else address(url)
        day = time.strftime("%Y-%m-%d", time.gmtime())
        new = LockEntry(path=path, bytes=size, sha256=sha256, address=shown, fetched=day)
        with self._target(published) as target:
            found = self.find_entry(published, path)
            if found and found.entry.sha256 is not None:
                return found
            if found:
                new = found.entry.model_copy(update={"sha256": sha256})
            entries = _write(target, [*(e for e in _read(target) if e.path != path), new])
        return LocatedEntry(new, f"{target}, line {entries.index(new) + 1}")

    @contextmanager
    def _target(self, published: Publication) -> Iterator[Path]:
        """Yield the lock file to write, while no other run or thread writes it."""
        beside, fallback = self._files(published)
        # Only one run at a time downloads into a data directory; several share the manifests.
        target: Path = fallback
        exclusive: AbstractContextManager[None] = nullcontext()
        if _is_writable(beside):
            target, exclusive = beside, _exclusive(beside.with_suffix(".yaml"))
        with _WRITES, exclusive:
            yield target

    def match(self, published: Publication, digests: Mapping[str, str]) -> bool:
        """Return whether each file that needs an entry has one with its sha256."""
        entries = self.read_entries(published)
        if any(f.is_glob and not self.find_listing(published, f) for f in published.files):
            return False
        for file in self.expand(published).files:
            if file.sha256 is None and file.path in digests:
                found = entries.get(file.path)
                if found is None and not is_user_edited(published, file):
                    return False
                if found is not None and found.entry.sha256 != digests[file.path]:
                    return False
        return True

    def _files(self, published: Publication) -> tuple[Path, Path]:
        kind = next(name for name, model in MANIFEST_KINDS.items() if type(published) is model)
        name = f"{published.name}.lock"
        return kind_dir(self._manifests_dir, kind) / name, self._locks_dir / kind / name


def checksum_origins(manifests: Sequence[Publication], locks: LockFiles | None) -> dict[str, str]:
    """Return, by path, what states a file's sha256; empty for drawn files, which have no locks."""
    origins = {}
    for published in manifests if locks else ():
        entries = locks.read_entries(published) if locks else {}
        for file in locks.expand(published).files if locks else ():
            found = None if file.sha256 else entries.get(file.path)
            stated = "the manifest" if file.sha256 else "nothing"
            origins[file.path] = found.location if found else stated
    return origins


def is_user_edited(published: Publication, file: UpstreamFile) -> bool:
    """Return whether a user may edit the file: records or ids without a URL."""
    if file.url is not None or file.unpack:
        return False
    if isinstance(published, Source):
        return any(matches_glob(file.path, pattern) for pattern in published.records)
    return isinstance(published, Benchmark) and file.path in published.id_files


def _revision(url: str | None) -> tuple[str, ...] | None:
    """Return what a file's address has in common with those of its revision on the Hub."""
    hub = parse_hub_url(url) if url else None
    return hub[:3] if hub else None


def _write(lock: Path, entries: Sequence[LockEntry]) -> list[LockEntry]:
    """Write the entries sorted by path; return them in that order."""
    ordered = sorted(entries, key=lambda entry: entry.path)
    write_text(lock, "".join(f"{entry.to_json()}\n" for entry in ordered))
    return ordered


def _read(lock: Path) -> list[LockEntry]:
    if not exists(lock):
        return []
    entries = []
    for number, line in enumerate(lock.read_text(encoding="utf-8", errors="replace").splitlines()):
        try:
            entries.append(LockEntry.model_validate_json(line))
        except ValidationError as error:
            problem = f"is not a valid lock entry: {error.errors()[0]['msg']}"
            remedy = "restore the file from version control, or leave the line out"
            raise UserError(f"{lock}, line {number + 1}", problem, remedy) from None
    return entries


def _is_writable(lock: Path) -> bool:
    """Return whether the manifest exists, and its folder and its lock file are writable."""
    has_manifest = lock.with_suffix(".yaml").is_file() and os.access(lock.parent, os.W_OK)
    return has_manifest and (not lock.exists() or os.access(lock, os.W_OK))


@contextmanager
def _exclusive(manifest: Path) -> Iterator[None]:
    """Hold an flock on the manifest itself, so that no separate lock file is needed."""
    with manifest.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
        except OSError as error:
            warning = f"cannot be locked ({error.strerror}): run no second download of it meanwhile"
            print(redact(f"{manifest}: {warning}"), file=sys.stderr)
        yield
