"""Read members of zips, plain tars and tables in place; from an object store by byte ranges."""

import stat
import tarfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path

from imp_data.errors import UserError
from imp_data.images.archive_errors import DamagedMember, TooManyBytes
from imp_data.images.archive_links import (
    MOST_PATH_CHARACTERS,
    link_target,
    linked_names,
    resolve_links,
)
from imp_data.images.embedded import file_kind, read_embedded, read_json_image
from imp_data.images.path_spellings import EncodedName, name_on_disk
from imp_data.images.tar_members import member_name, tar_members
from imp_data.storage.archives import ARCHIVE_REMEDY, is_zip_file, open_at_offsets, open_zip_file
from imp_data.storage.embedded_names import parse_inner
from imp_data.storage.file_kinds import HEAD_BYTES
from imp_data.storage.object_store import ObjectState
from imp_data.storage.zip_stream import DAMAGE_ERRORS, ZipReader, is_disk_error


@lru_cache(maxsize=64)
def is_zip(archive: Path, state: int | ObjectState) -> bool:
    """Return whether an archive is a zip, see `is_zip_file`; determined once in each process."""
    return is_zip_file(archive)


def read_member(
    archive: Path, state: int | ObjectState, member: str, max_bytes: int
) -> bytes | None:
    """Return a member's bytes, or None if the archive has no member of that name.

    `state` differs once the archive has changed. Raise DamagedMember, TooManyBytes; UserError if
    the file is not an archive.
    """
    kind = file_kind(archive, state) if member.startswith("@") else None
    if kind in ("parquet", "arrow", "json"):
        return read_embedded(archive, state, member, max_bytes)
    if kind == "tar":
        member = member.removeprefix("@/")
    elif is_zip(archive, state):
        return _read_zipped(open_zip(archive, state), member, max_bytes)
    data = _read_tar_member(archive, state, member, max_bytes)
    if data is None and kind == "tar" and (inner := parse_inner(member)):
        # Base64 takes a third more than the image, and the rest of a record is text.
        text = _read_tar_member(archive, state, inner[0], 2 * max_bytes)
        return None if text is None else read_json_image(text, inner[1], max_bytes)
    return data


def _read_tar_member(
    archive: Path, state: int | ObjectState, member: str, max_bytes: int
) -> bytes | None:
    stored = tar_members(archive, state).get(member)
    if stored is None:
        return None
    if stored.size > max_bytes:
        raise TooManyBytes
    size = state.size if isinstance(state, ObjectState) else None
    with _raise_damaged_member(), open_at_offsets(archive, size) as read_at:
        return stored.read(read_at)


def member_head(archive: Path, state: int | ObjectState, member: str) -> bytes:
    """Return the first bytes of a member, enough to detect its type. Raise DamagedMember."""
    if not is_zip(archive, state):
        stored = tar_members(archive, state).get(member)
        if stored is None:
            return b""
        with _raise_damaged_member(), open_at_offsets(archive) as read_at:
            return _head(stored.pieces(read_at))
    whole = open_zip(archive, state)
    info = _find_member(whole, member)
    if info is None:
        return b""
    with _raise_damaged_member():
        return _head(whole.pieces(info, HEAD_BYTES))


def _head(pieces: Iterator[bytes]) -> bytes:
    return next(pieces, b"")[:HEAD_BYTES]


def member_names(archive: Path, state: int | ObjectState) -> Iterator[EncodedName]:
    """Yield the names of an archive's files, names through links included.

    A name comes with its bytes where a zip does not declare its encoding.
    """
    if not is_zip(archive, state):
        members = tar_members(archive, state)
        linked = linked_names(members.files, members.links)
        yield from map(name_on_disk, (*members.files, *linked))
        return
    whole = open_zip(archive, state)
    files = {
        name: info
        for name, info in whole.NameToInfo.items()
        if not name.endswith("/") and not _is_link(info) and member_name(name) == name
    }
    for name, info in files.items():
        yield name, None if info.flag_bits & _UTF8_NAME else _undeclared_bytes(name)
    for name in linked_names(files, read_symbolic_links(whole)):
        yield name, None


def _undeclared_bytes(name: str) -> bytes | None:
    return None if name.isascii() else name.encode("cp437", "replace")


def index_archive(archive: Path, state: ObjectState) -> None:
    """Read an archive's directory once, before several threads need it."""
    open_zip(archive, state) if is_zip(archive, state) else tar_members(archive, state)


def _read_zipped(archive: ZipReader, member: str, max_bytes: int) -> bytes | None:
    info = _find_member(archive, member)
    if info is None:
        return None
    if info.file_size > max_bytes:
        raise TooManyBytes
    with _raise_damaged_member():
        archive.check(info)
        with archive.prefetch(info):
            return b"".join(archive.pieces(info, at_once=info.file_size))


@contextmanager
def _raise_damaged_member() -> Iterator[None]:
    """Turn errors in a member's bytes into DamagedMember."""
    try:
        yield
    except (*DAMAGE_ERRORS, tarfile.TarError) as error:
        if is_disk_error(error):
            raise
        raise DamagedMember(str(error)) from error


def _find_member(archive: ZipReader, member: str) -> zipfile.ZipInfo | None:
    """Return the member of that name, or the target of a symbolic link of that name."""
    info = archive.NameToInfo.get(member)
    if (info is None or _is_link(info)) and (links := read_symbolic_links(archive)):
        target = resolve_links(member, links)
        info = None if target is None else archive.NameToInfo.get(target)
    return None if info is None or _is_link(info) else info


def _is_link(info: zipfile.ZipInfo) -> bool:
    return stat.S_ISLNK(info.external_attr >> 16)


def read_symbolic_links(archive: ZipReader) -> dict[str, str]:
    """Return {name: target} of a zip's symbolic links; read once for each archive."""
    known = archive.links
    if known is None:
        known = {}
        for name, info in [*archive.NameToInfo.items()]:
            if _is_link(info) and info.file_size <= MOST_PATH_CHARACTERS:
                try:
                    target = b"".join(archive.pieces(info)).decode()
                except DAMAGE_ERRORS as error:
                    if is_disk_error(error):
                        raise
                    continue  # a damaged link has no target
                if (path := link_target(name, target)) is not None:
                    known[name] = path
        archive.links = known
    return known


_UTF8_NAME = 0x800  # APPNOTE 4.4.4, bit 11


@lru_cache(maxsize=64)
def open_zip(path: Path, state: int | ObjectState) -> ZipReader:
    """Open a zip once in each process: reading a large directory takes seconds."""
    try:
        archive = open_zip_file(path)
    except DAMAGE_ERRORS as error:
        if is_disk_error(error):
            raise
        raise UserError(path, f"is not a whole zip ({error})", ARCHIVE_REMEDY) from error
    # Index by the normal form of the name too; the last of several equal names counts.
    for info in archive.filelist:
        if not info.filename.endswith("/"):
            archive.NameToInfo[member_name(info.filename)] = info
    return archive
