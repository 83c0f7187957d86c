"""Members of zips and plain tars, read in place; those of an object store by ranges."""

import stat
import tarfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path

from imp_data.errors import UserError
from imp_data.images.archive_links import MOST_PATH_CHARACTERS, followed, link_target, linked_names
from imp_data.images.path_spellings import Named, on_disk
from imp_data.images.tar_members import member_name, tar_members
from imp_data.storage.archives import REMEDY, is_zip_file, open_at_offsets, open_zip
from imp_data.storage.file_kinds import HEAD_BYTES
from imp_data.storage.object_store import State
from imp_data.storage.zip_stream import DAMAGED, Zip, of_the_disk


class DamagedMember(Exception):
    """The archive has the image, but its bytes do not unpack."""


class TooManyBytes(Exception):
    """The image's file is larger than the limit."""


@lru_cache(maxsize=64)
def is_zip(archive: Path, state: int | State) -> bool:
    """Return whether an archive is a zip; see `is_zip_file`. Determined once a process."""
    return is_zip_file(archive)


def read_member(
    archive: Path,
    state: int | State,
    member: str,
    max_bytes: int,
) -> bytes | None:
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
    size = state.size if isinstance(state, State) else None
    with _damage(), open_at_offsets(archive, size) as read_at:
        return stored.read(read_at)


def member_head(archive: Path, state: int | State, member: str) -> bytes:
    """The first bytes of a member, as many as tell what it is. Raises DamagedMember."""
    if not is_zip(archive, state):
        stored = tar_members(archive, state).get(member)
        if stored is None:
            return b""
        with _damage(), open_at_offsets(archive) as read_at:
            return _head(stored.pieces(read_at))
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
        with archive.prefetch(info):
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
        archive = open_zip(path)
    except DAMAGED as error:
        if of_the_disk(error):
            raise
        raise UserError(path, f"is not a whole zip ({error})", REMEDY) from error
    # By the names in normal form too; of several members of one name the last counts.
    for info in archive.filelist:
        if not info.filename.endswith("/"):
            archive.NameToInfo[member_name(info.filename)] = info
    return archive
