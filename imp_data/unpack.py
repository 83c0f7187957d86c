"""Lays chosen members of a zip or tar below a folder: none that leads outside, each one whole."""

import os
import re
import shutil
import stat
import sys
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from fnmatch import fnmatchcase
from gzip import BadGzipFile
from lzma import LZMAError
from pathlib import Path
from typing import IO

from imp_data.at_once import at_once
from imp_data.errors import ANEW, UserError
from imp_data.file_kinds import HEAD_BYTES, file_kind
from imp_data.folders import is_sidecar, real_places, refuse_way_out
from imp_data.objects import is_there, put_bytes
from imp_data.places import in_store
from imp_data.ranges import opened
from imp_data.redaction import redacted
from imp_data.store import file_sizes, remove, written_aside

_DAMAGED = (
    *(zipfile.BadZipFile, tarfile.TarError, zlib.error, LZMAError, BadGzipFile, EOFError),
    *(RuntimeError, ValueError, LookupError),  # encrypted, compressed as nobody knows, misnamed
)
_INSIDE = re.compile(r"(?![/\\])(?!(.*[/\\])?\.\.([/\\]|$))", re.DOTALL)
_Member = tuple[str, IO[bytes]]
_Members = Iterator[tuple[str, IO[bytes] | None]]
_SMALL_BYTES = 4 << 20


def unpack(archive: Path, digest: str, globs: Sequence[str], folder: Path) -> None:
    """Lay the members that a glob matches below `folder`, but for those that are there already.

    The marker, written last, names the archive's digest, the globs, and the members laid out.
    """
    marker = marker_of(archive)
    finished = "\n".join((digest, *globs))
    listed = _listed(marker, finished)
    present = _present(folder, listed or ())
    if listed is not None and present.issuperset(listed):
        return
    if listed is None:
        remove(marker)
    names: list[str] = []
    try:
        named = _named(archive, globs, names)
        # Whoever has changed one that is there keeps it.
        members = (member for member in named if member[0] not in present)
        if in_store(folder):
            for _ in at_once(lambda member: put_bytes(*member), _small(members, folder)):
                pass
        else:
            for name, content in members:
                _refuse_way_out(folder, name)
                _lay(content, folder / name)
    except _DAMAGED as error:
        problem = f"is damaged at or after {names[-1] if names else 'its beginning'}: {error}"
        raise UserError(archive, problem, ANEW) from error
    if idle := [g for g in globs if not any(fnmatchcase(name, g) for name in names)]:
        remedy = "correct `unpack` of this file in the manifest"
        raise UserError(archive, f"no member matches {', '.join(idle)}", remedy)
    # Names need not be UTF-8.
    with written_aside(marker) as aside:
        text = "\n".join((finished, "", *names))
        aside.write_text(text, encoding="utf-8", errors="surrogateescape")


def _named(archive: Path, globs: Sequence[str], names: list[str]) -> Iterator[_Member]:
    """The members, each added to `names` first. UserError where one is not safe to lay down."""
    for name, content in _members(archive, globs):
        names.append(name)
        if content is None:
            problem = f"member {name} is a link or a device, or leads out of the folder"
            raise UserError(archive, problem, "do not trust this archive; get it elsewhere")
        yield name, content


def _refuse_way_out(folder: Path, name: str) -> None:
    """Raise UserError where a link deeper than directly in the folder leads a member out of it."""
    around = (folder / name).parent
    top = folder / name.partition("/")[0]
    places = real_places((folder, folder.parent, top))
    refuse_way_out(folder / name, os.path.realpath(around), places)


def _lay(content: IO[bytes], path: Path, begun: bytes = b"") -> None:
    with content, written_aside(path, alone=True) as aside, aside.open("wb") as out:
        out.write(begun)
        shutil.copyfileobj(content, out)


def _small(members: Iterator[_Member], folder: Path) -> Iterator[tuple[bytes, Path]]:
    """Small members, to be put many at a time; large ones are put on the way."""
    for name, content in members:
        data = content.read(_SMALL_BYTES)
        if len(data) == _SMALL_BYTES:
            _lay(content, folder / name, data)
        else:
            content.close()
            yield data, folder / name


def unpacked_names(archive: Path) -> list[str]:
    """The members that were laid beside an archive; none where it was not unpacked."""
    return _marked(marker_of(archive))[1]


def marker_of(archive: Path) -> Path:
    """The file that says what was unpacked from an archive."""
    return archive.with_name(f".{archive.name}.unpacked")


def _marked(marker: Path) -> tuple[str, list[str]]:
    """What a marker says of the archive and the globs, and which members were laid."""
    if not is_there(marker):
        return "", []
    text = marker.read_text(encoding="utf-8", errors="surrogateescape")
    told, _, names = text.partition("\n\n")
    return told, names.splitlines()


def _listed(marker: Path, finished: str) -> list[str] | None:
    """The members that were laid from the same archive by the same globs; None where none were."""
    told, names = _marked(marker)
    return names if told == finished else None


def _present(folder: Path, names: Sequence[str]) -> set[str]:
    if not in_store(folder):
        return {name for name in names if (folder / name).exists()}
    return set(names) & file_sizes(folder).keys() if names else set()


def _members(archive: Path, globs: Sequence[str]) -> _Members:
    """Name and content of what a glob matches; no content where it is not safe to lay down."""

    sidecars: list[str] = []

    def matches(name: str) -> bool:
        if not any(fnmatchcase(name, g) for g in globs):
            return False
        if is_sidecar(name):
            sidecars.append(name)
            return False
        return True

    with opened(archive) as file:
        kind = file_kind(file.read(HEAD_BYTES))
    is_zip = kind == "zip" or (kind is None and archive.suffix.lower() == ".zip")
    yield from (_zip_members if is_zip else _tar_members)(archive, matches)
    if sidecars:
        told = f"{len(sidecars):,} files that macOS or Windows put there are left out"
        print(redacted(f"{archive}: {told} ({sidecars[0]}…)"), file=sys.stderr)


def _zip_members(archive: Path, matches: Callable[[str], bool]) -> _Members:
    with opened(archive) as file, zipfile.ZipFile(file) as whole:
        for info in whole.infolist():
            if matches(info.filename) and not info.is_dir():
                regular = stat.S_IFMT(info.external_attr >> 16) in (0, stat.S_IFREG)
                safe = regular and _INSIDE.match(info.filename)
                yield info.filename, whole.open(info) if safe else None


def _tar_members(archive: Path, matches: Callable[[str], bool]) -> _Members:
    with opened(archive) as file, tarfile.open(fileobj=file) as whole:
        for info in whole:
            name = info.name.removeprefix("./")
            if matches(name) and not info.isdir():
                safe = info.isfile() and _INSIDE.match(name)
                yield name, whole.extractfile(info) if safe else None
        # tarfile takes a damaged header for the end of the archive.
        whole.fileobj.seek(whole.offset)
        if whole.fileobj.read(tarfile.BLOCKSIZE).strip(b"\0"):
            raise tarfile.ReadError(f"no header at byte {whole.offset:,}")
