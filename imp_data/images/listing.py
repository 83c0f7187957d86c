"""List every image in a folder and in its archives, detected by content as well as by name."""

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
from imp_data.images.archive_errors import DamagedMember
from imp_data.images.archive_members import member_head, member_names
from imp_data.images.path_spellings import ENDINGS, escape_name
from imp_data.images.reader import ImageReader
from imp_data.manifests import ImageFolder
from imp_data.storage.file_kinds import HEAD_BYTES, IMAGE_KINDS, detect_kind, kind_phrase
from imp_data.storage.folders import is_sidecar, list_files

_ARCHIVES = ("zip", "tar")
_COMPRESSED: dict[str, Callable[..., Any]] = {"gzip": gzip.open, "bzip2": bz2.open, "xz": lzma.open}
_UNSUPPORTED_ARCHIVES = ("7z", "rar")
# Pillow passes this many first bytes to its format tests (PIL.Image.open).
_PREFIX_BYTES = 16
# Formats that Pillow lists but does not decode by itself.
_NOT_DECODED = frozenset({"BUFR", "GRIB", "HDF5", "MPEG", "EPS", "WMF"})


class ImageGroup(NamedTuple):
    """Images of one reader, by their names in it; `stem` is the prefix of the full name."""

    stem: str
    names: list[str]
    reader: ImageReader


class Listing(NamedTuple):
    """The content of a path: images, other files by kind, unreadable files with the reason."""

    groups: list[ImageGroup]
    others: Counter[str]
    unread: dict[str, str]


def list_images(path: Path, stem: str) -> Listing:
    """List the images in a folder, zip or plain tar; a file may be one image itself.

    Raise UserError if there is none.
    """
    found = Listing([], Counter(), {})
    if path.is_dir():
        _list_folder(path, stem, found)
    elif path.is_file():
        _list_file(path.parent, path.name, stem.rpartition("/")[0], found)
    else:
        raise UserError(path, "is no folder or file", "name a folder, zip or plain tar of images")
    if not any(group.names for group in found.groups):
        raise UserError(path, _describe_empty(found), "name a folder, zip or plain tar of images")
    return found


def _describe_empty(found: Listing) -> str:
    others = ", ".join(f"{count:,} {kind}" for kind, count in found.others.most_common(5))
    unread = "".join(f"; {escape_name(name)} {why}" for name, why in [*found.unread.items()][:5])
    return f"holds no image (of other files: {others or 'none'}){unread}"


def _list_folder(path: Path, stem: str, found: Listing) -> None:
    def unreadable(error: OSError) -> None:
        found.unread[str(error.filename)] = f"cannot be read ({error.strerror})"

    for name, _ in list_files(path, unreadable):
        if not is_sidecar(name):
            _list_file(path, name, stem, found)


def _list_file(folder: Path, name: str, stem: str, found: Listing) -> None:
    path = folder / name
    try:
        kind = _kind(name, _head(path))
        if kind == "image":
            _add(found, stem, name, ImageReader(folder, folder, ()))
        elif kind in _ARCHIVES or path.suffix.lower() in (".zip", ".tar"):
            _list_archive(path, f"{stem}/{os.path.dirname(name)}".strip("/"), found)
        elif kind in _UNSUPPORTED_ARCHIVES or _holds_tar(path, kind):
            found.unread[str(path)] = f"is {kind_phrase(kind)}: unpack it, or make a zip of it"
        else:
            found.others[kind_phrase(kind)] += 1
    except OSError as error:
        found.unread[str(path)] = f"cannot be read ({error.strerror or error})"
    except UserError as error:
        found.unread[error.where] = error.problem


def _list_archive(path: Path, stem: str, found: Listing) -> None:
    state = path.stat().st_mtime_ns
    # Skip the model's checks: they are for manifests, and an archive may have any name.
    root = ImageFolder.model_construct(path=path.name, file=path.name, inside="")
    reader = ImageReader(path.parent / ".none", path.parent, (("", root),))
    for name in sorted(name for name, _ in member_names(path, state)):
        if is_sidecar(name):
            continue
        try:
            head = b"" if _named_image(name) else member_head(path, state, name)
            kind = _kind(name, head)
        except DamagedMember:
            kind = "image"  # possibly; its status decides
        if kind == "image":
            _add(found, stem, f"{path.name}/{name}", reader)
        elif kind in (*_ARCHIVES, *_UNSUPPORTED_ARCHIVES):
            found.unread[f"{path}, member {escape_name(name)}"] = (
                f"is {kind_phrase(kind)} in an archive"
            )
        else:
            found.others[kind_phrase(kind)] += 1


def _add(found: Listing, stem: str, name: str, reader: ImageReader) -> None:
    last = found.groups[-1] if found.groups else None
    if last is None or (last.stem, last.reader) != (stem, reader):
        found.groups.append(ImageGroup(stem, [name], reader))
    else:
        last.names.append(name)


def _named_image(name: str) -> bool:
    return name.rpartition(".")[2].lower() in ENDINGS


def _kind(name: str, head: bytes) -> str | None:
    """Return `image`, or the kind that the first bytes show; an image ending is enough."""
    kind = detect_kind(head)
    if kind in IMAGE_KINDS or _named_image(name) or (kind is None and _is_known_to_pillow(head)):
        return "image"
    return kind


def _is_known_to_pillow(head: bytes) -> bool:
    """Return whether the first bytes are those of a format that Pillow decodes."""
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
    """Return whether a compressed file contains a tar."""
    if kind not in _COMPRESSED:
        return ".tar." in path.name.lower() and kind is not None
    try:
        with _COMPRESSED[kind](path, "rb") as file:
            return detect_kind(file.read(HEAD_BYTES)) == "tar"
    except (OSError, EOFError, zlib.error, lzma.LZMAError):
        return path.name.lower().endswith((".tgz", ".tbz2", ".txz")) or ".tar." in path.name


def unique_stems(paths: list[Path]) -> Iterator[str]:
    """Yield a unique name for each path: its own, with as many parent folders as needed."""
    whole = [Path(os.path.abspath(path)).parts[1:] or ("root",) for path in paths]
    for parts in whole:
        others = [other for other in whole if other != parts]
        counts = range(1, len(parts) + 1)
        unique = (n for n in counts if all(other[-n:] != parts[-n:] for other in others))
        yield "/".join(parts[-next(unique, len(parts)) :])
