"""What was learned of files whose manifest states no sha256: one lock file beside each manifest.

`manifests/sources/dvqa.lock` holds a line of JSON for each such file, sorted by path: its path,
bytes, sha256, the address it came from (null: put in place by hand) and the day (UTC). It belongs
under version control. Where the manifests' folder cannot be written to, new lines go into
`locks/<room>/<name>.lock` of the data directory; both are read.
"""

import fcntl
import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import NamedTuple

import orjson
from pydantic import ValidationError

from imp_data.errors import UserError
from imp_data.manifests import ROOMS, Benchmark, File, Published, Source, Strict
from imp_data.manifests.earlier_names import kind_dir
from imp_data.manifests.fields import Count, Sha256
from imp_data.redaction import address, redacted
from imp_data.storage.atomic_write import write_text
from imp_data.storage.globs import is_named
from imp_data.storage.object_store import is_there


class Locked(Strict):
    """One line: the one version of a file that is accepted."""

    path: str
    bytes: Count
    sha256: Sha256
    address: str | None
    fetched: str

    def text(self) -> str:
        """`{"path":"qa.tar.gz","bytes":…,"sha256":"…","address":"https://…","fetched":"…"}`"""
        return orjson.dumps(self.model_dump()).decode()


class Found(NamedTuple):
    """A line, and where it stands: `manifests/sources/dvqa.lock, line 1`."""

    locked: Locked
    where: str


class Locks:
    """The lock files of a recipe's manifests, `rooms`, and those of a data directory, `spare`."""

    def __init__(self, rooms: Path, spare: Path) -> None:
        self._rooms, self._spare = rooms, spare

    def known(self, published: Published) -> dict[str, Found]:
        """A manifest's lines by path; those beside it come before those of the data directory."""
        return {
            locked.path: Found(locked, f"{lock}, line {number}")
            for lock in reversed(self._files(published))
            for number, locked in enumerate(_read(lock), 1)
        }

    def found(self, published: Published, path: str) -> Found | None:
        """The line of a file."""
        return self.known(published).get(path)

    def learn(
        self, published: Published, path: str, size: int, sha256: str, url: str | None
    ) -> Found:
        """The file's line, written if there is none: another run may have been first."""
        beside, spare = self._files(published)
        shown = None if url is None else address(url)
        day = time.strftime("%Y-%m-%d", time.gmtime())
        new = Locked(path=path, bytes=size, sha256=sha256, address=shown, fetched=day)
        # Only one run at a time fetches into a data directory; many share the manifests.
        target: Path = spare
        alone: AbstractContextManager[None] = nullcontext()
        if _may_write(beside):
            target, alone = beside, _alone(beside.with_suffix(".yaml"))
        with alone:
            if found := self.found(published, path):
                return found
            lines = sorted([*_read(target), new], key=lambda line: line.path)
            write_text(target, "".join(f"{line.text()}\n" for line in lines))
        return Found(new, f"{target}, line {lines.index(new) + 1}")

    def agree(self, published: Published, digests: Mapping[str, str]) -> bool:
        """Whether each file that is to be locked has its line, and is what it says."""
        known = self.known(published)
        for file in published.files:
            if file.sha256 is None and file.path in digests:
                found = known.get(file.path)
                if found is None and not is_own(published, file):
                    return False
                if found is not None and found.locked.sha256 != digests[file.path]:
                    return False
        return True

    def _files(self, published: Published) -> tuple[Path, Path]:
        room = next(name for name, model in ROOMS.items() if type(published) is model)
        name = f"{published.name}.lock"
        return kind_dir(self._rooms, room) / name, self._spare / room / name


def held_to(manifests: Sequence[Published], locks: Locks | None) -> dict[str, str]:
    """Where it is stated what a file's sha256 must be, by path; nothing of what is drawn."""
    held = {}
    for published in manifests if locks else ():
        known = locks.known(published) if locks else {}
        for file in published.files:
            found = None if file.sha256 else known.get(file.path)
            held[file.path] = found.where if found else "the manifest" if file.sha256 else "nothing"
    return held


def is_own(published: Published, file: File) -> bool:
    """Whether a file is a person's own to edit: records or ids that no address serves."""
    if file.url is not None or file.unpack:
        return False
    if isinstance(published, Source):
        return any(is_named(file.path, pattern) for pattern in published.records)
    return isinstance(published, Benchmark) and file.path in published.id_files


def _read(lock: Path) -> list[Locked]:
    if not is_there(lock):
        return []
    lines = []
    for number, line in enumerate(lock.read_text(encoding="utf-8", errors="replace").splitlines()):
        try:
            lines.append(Locked.model_validate_json(line))
        except ValidationError as error:
            why = error.errors()[0]["msg"]
            remedy = "take the line out, or get the file again from version control"
            raise UserError(
                f"{lock}, line {number + 1}", f"is no line of a lock: {why}", remedy
            ) from None
    return lines


def _may_write(lock: Path) -> bool:
    """Whether a manifest is there, and its folder and its lock file may be written to."""
    there = lock.with_suffix(".yaml").is_file() and os.access(lock.parent, os.W_OK)
    return there and (not lock.exists() or os.access(lock, os.W_OK))


@contextmanager
def _alone(manifest: Path) -> Iterator[None]:
    """Hold the operating system's lock on a manifest, which needs no other file for that."""
    with manifest.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
        except OSError as error:
            told = f"cannot be locked ({error.strerror}): let no other run fetch the same meanwhile"
            print(redacted(f"{manifest}: {told}"), file=sys.stderr)
        yield
