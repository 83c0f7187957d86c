"""Members of zips and plain tars, read in place; those of an object store by ranges."""

import stat
import tarfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from functools import lru_cache, partial
from pathlib import Path
from typing import BinaryIO

from imp_data.errors import UserError
from imp_data.images.archive_links import MOST_PATH_CHARACTERS, followed, link_target, linked_names
from imp_data.images.path_spellings import Named, on_disk
from imp_data.images.remote_zip import REMEDY, StoredZip, archive_piece
from imp_data.images.tar_members import member_name, tar_members
from imp_data.storage.file_kinds import HEAD_BYTES, file_kind
from imp_data.storage.object_store import State
from imp_data.storage.paths import in_store
from imp_data.storage.zip_stream import DAMAGED, Zip, of_the_disk


class DamagedMember(Exception):
    """The archive has the image, but its bytes do not unpack."""


class TooManyBytes(Exception):
    """The image's file is larger than the limit."""


@lru_cache(maxsize=64)
def is_zip(archive: Path, state: int | State) -> bool:
    """Whether a file counts as a zip, else it is a tar: by its first bytes, else by its name.

    A store would have to be asked for those, so there the name decides.
    """
    if not in_store(archive):
        with archive.open("rb") as file:
            kind = file_kind(file.read(HEAD_BYTES))
        if kind in ("zip", "tar"):
            return kind == "zip"
    return archive.suffix.lower() == ".zip"


def read_member(archive: Path, state: int | State, member: str, max_bytes: int) -> bytes | None:
    """A member's bytes, None if there is none of that name.

    `state` differs once the archive is another. Raises DamagedMember, TooManyBytes; UserError if
    the archive is none.
    """
    if is_zip(archive, state):
        return _read_zipped(zip_of(archive, state), member, max_bytes)
    stored = tar_members(archive, state).get(member)
    if stored is None:
        return None
    if stored.size > max_bytes:
        raise TooManyBytes
    with _damage():
        if isinstance(state, State):
            return stored.read(partial(_read_object_at, archive, state.size))
        with archive.open("rb") as file:
            return stored.read(partial(_read_file_at, file))


def _read_object_at(archive: Path, size: int, offset: int, count: int) -> bytes:
    end = min(offset + count, size)
    return archive_piece(archive, offset, end) if offset < end else b""


def _read_file_at(file: BinaryIO, offset: int, count: int) -> bytes:
    file.seek(offset)
    return file.read(count)


def member_head(archive: Path, state: int | State, member: str) -> bytes:
    """The first bytes of a member, as many as tell what it is. Raises DamagedMember."""
    if not is_zip(archive, state):
        stored = tar_members(archive, state).get(member)
        if stored is None:
            return b""
        with _damage(), archive.open("rb") as file:
            return _head(stored.pieces(partial(_read_file_at, file)))
    whole = zip_of(archive, state)
    info = _info(whole, member)
    if info is None:
        return b""
    with _damage():
        return _head(whole.pieces(info, HEAD_BYTES))


def _head(pieces: Iterator[bytes]) -> bytes:
    return next(pieces, b"")[:HEAD_BYTES]


def member_names(archive: Path, state: int | State) -> Iterator[Named]:
    """What an archive's files are called, by links too; with their bytes where a zip does not say
    how it is encoded."""
    if not is_zip(archive, state):
        members = tar_members(archive, state)
        linked = linked_names(members.files, members.links)
        yield from map(on_disk, (*members.files, *linked))
        return
    whole = zip_of(archive, state)
    files = {
        name: info
        for name, info in whole.NameToInfo.items()
        if not name.endswith("/") and not _is_link(info) and member_name(name) == name
    }
    for name, info in files.items():
        yield name, None if info.flag_bits & _UTF8_NAME else _raw(name)
    for name in linked_names(files, links_of(whole)):
        yield name, None


def _raw(name: str) -> bytes | None:
    return None if name.isascii() else name.encode("cp437", "replace")


def learn(archive: Path, state: State) -> None:
    """Read what an archive has, so that threads which want its members need not each do so."""
    zip_of(archive, state) if is_zip(archive, state) else tar_members(archive, state)


def _read_zipped(archive: Zip, member: str, max_bytes: int) -> bytes | None:
    info = _info(archive, member)
    if info is None:
        return None
    if info.file_size > max_bytes:
        raise TooManyBytes
    with _damage():
        archive.check(info)
        with archive.fetched(info) if isinstance(archive, StoredZip) else nullcontext():
            return b"".join(archive.pieces(info, at_once=info.file_size))


@contextmanager
def _damage() -> Iterator[None]:
    """What is wrong with a member's bytes is a DamagedMember."""
    try:
        yield
    except (*DAMAGED, tarfile.TarError) as error:
        if of_the_disk(error):
            raise
        raise DamagedMember(str(error)) from error


def _info(archive: Zip, member: str) -> zipfile.ZipInfo | None:
    """The member of that name, or that a symbolic link of that name leads to."""
    info = archive.NameToInfo.get(member)
    if (info is None or _is_link(info)) and (links := links_of(archive)):
        target = followed(member, links)
        info = None if target is None else archive.NameToInfo.get(target)
    return None if info is None or _is_link(info) else info


def _is_link(info: zipfile.ZipInfo) -> bool:
    return stat.S_ISLNK(info.external_attr >> 16)


def links_of(archive: Zip) -> dict[str, str]:
    """The symbolic links of a zip, which hold the name they lead to; read once an archive."""
    known = archive.links
    if known is None:
        known = {}
        for name, info in [*archive.NameToInfo.items()]:
            if _is_link(info) and info.file_size <= MOST_PATH_CHARACTERS:
                try:
                    target = b"".join(archive.pieces(info)).decode()
                except DAMAGED as error:
                    if of_the_disk(error):
                        raise
                    continue  # a link that does not unpack leads nowhere
                if (path := link_target(name, target)) is not None:
                    known[name] = path
        archive.links = known
    return known


_UTF8_NAME = 0x800  # APPNOTE 4.4.4, bit 11


@lru_cache(maxsize=64)
def zip_of(path: Path, state: int | State) -> Zip:
    """Open once a process: reading a large zip's directory takes seconds."""
    try:
        archive = StoredZip(path) if in_store(path) else Zip(path)
    except DAMAGED as error:
        if of_the_disk(error):
            raise
        raise UserError(path, f"is not a whole zip ({error})", REMEDY) from error
    # By the names in normal form too; of several members of one name the last counts.
    for info in archive.filelist:
        if not info.filename.endswith("/"):
            archive.NameToInfo[member_name(info.filename)] = info
    return archive
