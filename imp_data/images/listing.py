"""Every image in a folder, in archives within it too: known by content, not by name alone."""

import bz2
import gzip
import lzma
import os
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from PIL import Image

from imp_data.errors import UserError
from imp_data.images.archive_members import DamagedMember, member_head, member_names
from imp_data.images.path_spellings import ENDINGS, shown
from imp_data.images.reader import ImageReader
from imp_data.manifests import Folder
from imp_data.storage.file_kinds import HEAD_BYTES, IMAGE_KINDS, described, file_kind
from imp_data.storage.folders import files_below, is_sidecar

_ARCHIVES = ("zip", "tar")
_PACKED: dict[str, Callable[..., Any]] = {"gzip": gzip.open, "bzip2": bz2.open, "xz": lzma.open}
_CLOSED = ("7z", "rar")
# What Pillow's own tests of first bytes are given (PIL.Image.open).
_PREFIX_BYTES = 16
# Formats that Pillow names but does not decode by itself.
_NOT_DECODED = frozenset({"BUFR", "GRIB", "HDF5", "MPEG", "EPS", "WMF"})


class Album(NamedTuple):
    """Images that one reader reads, by the names it has for them; `stem` stands before each."""

    stem: str
    names: list[str]
    reader: ImageReader


class Listing(NamedTuple):
    """What a path holds: images, other files by kind, what could not be looked into and why."""

    albums: list[Album]
    others: Counter[str]
    unread: dict[str, str]


def listing(path: Path, stem: str) -> Listing:
    """The images in a folder, in a zip or plain tar, or the one image that the file is.

    Raises UserError where there is none.
    """
    found = Listing([], Counter(), {})
    if path.is_dir():
        _folder(path, stem, found)
    elif path.is_file():
        _file(path.parent, path.name, stem.rpartition("/")[0], found)
    else:
        raise UserError(path, "is no folder or file", "name a folder, zip or plain tar of images")
    if not any(album.names for album in found.albums):
        raise UserError(path, _emptiness(found), "name a folder, zip or plain tar of images")
    return found


def _emptiness(found: Listing) -> str:
    others = ", ".join(f"{count:,} {kind}" for kind, count in found.others.most_common(5))
    unread = "".join(f"; {shown(name)} {why}" for name, why in [*found.unread.items()][:5])
    return f"holds no image (of other files: {others or 'none'}){unread}"


def _folder(path: Path, stem: str, found: Listing) -> None:
    def unreadable(error: OSError) -> None:
        found.unread[str(error.filename)] = f"cannot be read ({error.strerror})"

    for name, _ in files_below(path, unreadable):
        if not is_sidecar(name):
            _file(path, name, stem, found)


def _file(folder: Path, name: str, stem: str, found: Listing) -> None:
    path = folder / name
    try:
        kind = _kind(name, _head(path))
        if kind == "image":
            _add(found, stem, name, ImageReader(folder, folder, ()))
        elif kind in _ARCHIVES or path.suffix.lower() in (".zip", ".tar"):
            _archive(path, f"{stem}/{os.path.dirname(name)}".strip("/"), found)
        elif kind in _CLOSED or _holds_tar(path, kind):
            found.unread[str(path)] = f"is {described(kind)}: unpack it, or make a zip of it"
        else:
            found.others[described(kind)] += 1
    except OSError as error:
        found.unread[str(path)] = f"cannot be read ({error.strerror or error})"
    except UserError as error:
        found.unread[error.where] = error.problem


def _archive(path: Path, stem: str, found: Listing) -> None:
    state = path.stat().st_mtime_ns
    # Past the model's own checks: these are for manifests, and any name may stand here.
    root = Folder.model_construct(path=path.name, file=path.name, inside="")
    reader = ImageReader(path.parent / ".none", path.parent, (("", root),))
    for name in sorted(name for name, _ in member_names(path, state)):
        if is_sidecar(name):
            continue
        try:
            head = b"" if _named_image(name) else member_head(path, state, name)
            kind = _kind(name, head)
        except DamagedMember:
            kind = "image"  # perhaps: its status will tell
        if kind == "image":
            _add(found, stem, f"{path.name}/{name}", reader)
        elif kind in (*_ARCHIVES, *_CLOSED):
            found.unread[f"{path}, member {shown(name)}"] = f"is {described(kind)} in an archive"
        else:
            found.others[described(kind)] += 1


def _add(found: Listing, stem: str, name: str, reader: ImageReader) -> None:
    last = found.albums[-1] if found.albums else None
    if last is None or (last.stem, last.reader) != (stem, reader):
        found.albums.append(Album(stem, [name], reader))
    else:
        last.names.append(name)


def _named_image(name: str) -> bool:
    return name.rpartition(".")[2].lower() in ENDINGS


def _kind(name: str, head: bytes) -> str | None:
    """`image`, or what else the first bytes show; a file named as an image is meant as one."""
    kind = file_kind(head)
    if kind in IMAGE_KINDS or _named_image(name) or (kind is None and _by_pillow(head)):
        return "image"
    return kind


def _by_pillow(head: bytes) -> bool:
    """Whether a format that Pillow knows by its first bytes begins so."""
    Image.init()
    prefix = head[:_PREFIX_BYTES]
    kinds = Image.OPEN.keys() - _NOT_DECODED
    tests = [accept for kind in kinds if (accept := Image.OPEN[kind][1]) is not None]
    try:
        return len(prefix) == _PREFIX_BYTES and any(accept(prefix) is True for accept in tests)
    except (ValueError, IndexError, TypeError):
        return False


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(HEAD_BYTES)


def _holds_tar(path: Path, kind: str | None) -> bool:
    """Whether a compressed file is a tar within."""
    if kind not in _PACKED:
        return ".tar." in path.name.lower() and kind is not None
    try:
        with _PACKED[kind](path, "rb") as file:
            return file_kind(file.read(HEAD_BYTES)) == "tar"
    except (OSError, EOFError, zlib.error, lzma.LZMAError):
        return path.name.lower().endswith((".tgz", ".tbz2", ".txz")) or ".tar." in path.name


def stems(paths: list[Path]) -> Iterator[str]:
    """What to call each path: its name, with as many folders before it as keep all apart."""
    whole = [Path(os.path.abspath(path)).parts[1:] or ("root",) for path in paths]
    for parts in whole:
        alike = [other for other in whole if other != parts]
        counts = range(1, len(parts) + 1)
        apart = (n for n in counts if all(other[-n:] != parts[-n:] for other in alike))
        yield "/".join(parts[-next(apart, len(parts)) :])
