"""Read one image's bytes: an unpacked file, or a member of a zip or tar read in place."""

import errno
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from io import FileIO
from itertools import chain
from pathlib import Path
from stat import S_ISDIR, S_ISREG
from typing import NamedTuple, Protocol

from imp_data.errors import UserError
from imp_data.images.archive_errors import DamagedMember, TooManyBytes
from imp_data.images.archive_members import read_member
from imp_data.images.path_spellings import respelling_to_report
from imp_data.images.prefetched_reader import ImageRequest, PrefetchedReader
from imp_data.images.respelled_paths import (
    FOLDER,
    AmbiguousImage,
    ImageRoot,
    StateOf,
    find_respelled,
)
from imp_data.images.row_files import locate, missing_image
from imp_data.manifests import ImageFolder
from imp_data.storage.data_dir import DataDir
from imp_data.storage.embedded_names import split_embedded
from imp_data.storage.folders import check_inside, real_folders
from imp_data.storage.object_store import ObjectState
from imp_data.storage.paths import has_latency

__all__ = ["AmbiguousImage", "DamagedMember", "ImageReader", "ImageSource", "TooManyBytes"]

# A name that no file can have, a loop of links, a socket.
_NO_FILE = {errno.ENAMETOOLONG, errno.ELOOP, errno.ENXIO}
_ACCESS = (
    "grant access or repair the disk, then run the same command again; finished stages are kept"
)


class ImageSource(Protocol):
    """Reads images by the paths that Samples name."""

    def read(self, image: str, max_bytes: int) -> bytes:
        """See ImageReader."""

    def read_with_spelling(self, image: str, max_bytes: int) -> tuple[bytes, str | None]:
        """See ImageReader."""


class ImageReader(NamedTuple):
    """Read images by path from the places that may contain them; cheap to pickle.

    `images` contains unpacked images under the paths that Samples name; `raw` contains one folder
    for each collection; `folders` are (collection, folder) pairs, the longest path first. No link
    may lead out of the places `within` (see `data_image_reader`); it is empty where a person names
    the folder itself.
    """

    images: Path
    raw: Path
    folders: tuple[tuple[str, ImageFolder], ...]
    within: tuple[str, ...] = ()

    def read(self, image: str, max_bytes: int) -> bytes:
        """Return the image's bytes; see `read_with_spelling`."""
        return self.read_with_spelling(image, max_bytes)[0]

    def read_with_spelling(self, image: str, max_bytes: int) -> tuple[bytes, str | None]:
        """Return the image's bytes, and its path if that is another spelling of `image`.

        Raise FileNotFoundError if no place has it, AmbiguousImage if several images match,
        DamagedMember, TooManyBytes; UserError if an archive is invalid, or if a file cannot be read
        or lies behind a link that leads out of `within`.
        """
        source = self.prefetch([image], max_bytes)
        if source is not self:
            return source.read_with_spelling(image, max_bytes)
        data = self._exact(image, max_bytes)
        if data is not None:
            return data, None
        with _raise_unreadable(self.raw):
            other = self.find_respelled(image, local_state)
        data = None if other is None else self._exact(other, max_bytes)
        if other is None or data is None:
            raise missing_image(self.raw, image)
        return data, respelling_to_report(image, other)

    def _exact(self, image: str, max_bytes: int) -> bytes | None:
        try:
            for place, member in chain([(self.images, image)], self.places(image)):
                data = _read(place, member, max_bytes, self.within)
                if data is not None:
                    return data
        except OSError as error:
            raise _unreadable_error(error, place / member) from error
        return None

    def prefetch(self, images: Sequence[str], max_bytes: int) -> ImageSource:
        """Return a source of just these images, in this order; it prefetches from a store."""
        if has_latency(self.raw):
            requests = [ImageRequest(self.images, i, [*self.places(i)]) for i in images]
            return PrefetchedReader(requests, max_bytes, self)
        return self

    def find_respelled(self, image: str, state_of: StateOf) -> str | None:
        """Return the path of the one image that matches in another spelling."""
        if split_embedded(image):
            return None
        roots = [ImageRoot("", self.images, "")]
        for collection, folder in self.folders:
            home = self.raw / collection
            place = home / folder.file if folder.file else home
            roots.append(ImageRoot(folder.path, place, folder.inside))
        return find_respelled(image, roots, state_of)

    def places(self, image: str) -> Iterator[tuple[Path, str]]:
        """Yield the folders and archives that may contain an image, with its name in each.

        An image in a file of records is there alone; its path begins with the source's name.
        """
        if embedded := split_embedded(image):
            if located := locate(self.raw, *embedded):
                yield located
            return
        for collection, folder in self.folders:
            if image.startswith(folder.path + "/"):
                member = image.removeprefix(folder.path + "/")
                inside = f"{folder.inside}/{member}" if folder.inside else member
                home = self.raw / collection
                yield (home / folder.file if folder.file else home), inside


def data_image_reader(data: DataDir, folders: tuple[tuple[str, ImageFolder], ...]) -> ImageReader:
    """Return a reader of the images of a data directory, and of no other file of this machine.

    A person makes the links at a folder that a manifest names, above it, or directly in
    data/raw/<name>; they may lead anywhere. All other links must stay within the data directory and
    these folders.
    """
    named = [data.root, data.raw(""), data.images]
    for collection, folder in folders:
        named += [data.images / folder.path, data.raw(collection)]
        named += [] if folder.file else [data.raw(collection) / folder.inside]
    return ImageReader(data.images, data.raw(""), folders, real_folders(named))


def local_state(place: Path) -> int | ObjectState | None:
    """Return the state of a local folder or archive."""
    try:
        state = place.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    return FOLDER if S_ISDIR(state.st_mode) else state.st_mtime_ns


@contextmanager
def _raise_unreadable(place: Path) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise
    except OSError as error:
        raise _unreadable_error(error, place) from error


def _unreadable_error(error: OSError, place: Path) -> UserError:
    where, why = error.filename or place, error.strerror or error
    return UserError(where, f"cannot be read ({why})", _ACCESS)


def _read(place: Path, member: str, max_bytes: int, within: tuple[str, ...]) -> bytes | None:
    """Return the bytes of that name in a folder or archive; None if there are none."""
    if ".." in member and ".." in member.split("/") and place.is_dir():
        return None
    try:
        with open(f"{place}/{member}", "rb", 0, opener=_open_nonblocking) as file:
            state = os.fstat(file.fileno())
            if not S_ISREG(state.st_mode):
                return None
            if within and not (real := _real_path(file)).startswith(within):
                top = place / member.partition("/")[0]
                check_inside(str(file.name), real, real_folders((top,)))
            if state.st_size > max_bytes:
                raise TooManyBytes
            return file.read()
    except NotADirectoryError:  # an archive, or a name below an image
        state = place.stat()
        is_archive = S_ISREG(state.st_mode)
        return read_member(place, state.st_mtime_ns, member, max_bytes) if is_archive else None
    except (FileNotFoundError, IsADirectoryError, ValueError):
        return None
    except OSError as error:
        if error.errno not in _NO_FILE:
            raise
        return None


def _open_nonblocking(path: str, flags: int) -> int:
    """Open without blocking: a pipe without a writer would block forever."""
    return os.open(path, flags | os.O_NONBLOCK)


def _real_path(file: FileIO) -> str:
    """Return the path of an open file with its links resolved."""
    try:
        return os.readlink(f"/proc/self/fd/{file.fileno()}")
    except OSError:  # on macOS
        return os.path.realpath(str(file.name))
