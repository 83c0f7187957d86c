"""One image's bytes, wherever it lies: unpacked, or in a zip or tar that is read in place."""

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
from imp_data.images.archive_members import DamagedMember, TooManyBytes, read_member
from imp_data.images.path_spellings import noted
from imp_data.images.prefetched_reader import ImageRequest, PrefetchedReader
from imp_data.images.respelled_paths import FOLDER, AmbiguousImage, Home, StateOf, respelled
from imp_data.manifests import Folder
from imp_data.storage.data_dir import DataDir
from imp_data.storage.folders import real_places, refuse_way_out
from imp_data.storage.object_store import State
from imp_data.storage.paths import has_latency

__all__ = ["AmbiguousImage", "DamagedMember", "ImageReader", "ImageSource", "TooManyBytes"]

# Of a name that no file can have, links that lead round, sockets.
_NO_FILE = {errno.ENAMETOOLONG, errno.ELOOP, errno.ENXIO}
_ACCESS = "grant access or mend the disk, then run the same command again; finished stages are kept"


class ImageSource(Protocol):
    """Whatever gives images by the names that Samples have for them."""

    def read(self, image: str, max_bytes: int) -> bytes:
        """See Shelf."""

    def found(self, image: str, max_bytes: int) -> tuple[bytes, str | None]:
        """See Shelf."""


class ImageReader(NamedTuple):
    """Where images are looked for; cheap to send to another process.

    `images` holds unpacked images under the paths that Samples name; `raw` holds one folder a
    collection; `folders` are (collection, folder) pairs, the longest path first. `within` are the
    places that no link may lead out of (`data_image_reader`); none where a person named the folder
    itself.
    """

    images: Path
    raw: Path
    folders: tuple[tuple[str, Folder], ...]
    within: tuple[str, ...] = ()

    def read(self, image: str, max_bytes: int) -> bytes:
        """The image's bytes; see `found`."""
        return self.found(image, max_bytes)[0]

    def found(self, image: str, max_bytes: int) -> tuple[bytes, str | None]:
        """The image's bytes, and the path it was found by where that is another spelling.

        Raises FileNotFoundError where no place has it, AmbiguousImage where several images may be
        meant, DamagedMember, TooManyBytes; UserError if an archive is there but is none, or if what
        is there cannot be read or is behind a link that leads out of `within`.
        """
        if has_latency(self.raw):
            return self.gathered([image], max_bytes).found(image, max_bytes)
        data = self._exact(image, max_bytes)
        if data is not None:
            return data, None
        with _readable(self.raw):
            other = self.respelled(image, state_here)
        data = None if other is None else self._exact(other, max_bytes)
        if other is None or data is None:
            raise FileNotFoundError(image)
        return data, noted(image, other)

    def _exact(self, image: str, max_bytes: int) -> bytes | None:
        try:
            for place, member in chain([(self.images, image)], self.places(image)):
                data = _read(place, member, max_bytes, self.within)
                if data is not None:
                    return data
        except OSError as error:
            raise _unreadable(error, place / member) from error
        return None

    def gathered(self, images: Sequence[str], max_bytes: int) -> ImageSource:
        """What reads just these images, in this order: from a store some at a time."""
        if has_latency(self.raw):
            asked = [ImageRequest(self.images, i, [*self.places(i)]) for i in images]
            return PrefetchedReader(asked, max_bytes, self)
        return self

    def respelled(self, image: str, state_of: StateOf) -> str | None:
        """The path of the one image that is meant by another spelling; see images.respelled."""
        homes = [Home("", self.images, "")]
        for collection, folder in self.folders:
            home = self.raw / collection
            place = home / folder.file if folder.file else home
            homes.append(Home(folder.path, place, folder.inside))
        return respelled(image, homes, state_of)

    def places(self, image: str) -> Iterator[tuple[Path, str]]:
        """Where else than unpacked an image may be: folder or archive, and its name in there."""
        for collection, folder in self.folders:
            if image.startswith(folder.path + "/"):
                member = image.removeprefix(folder.path + "/")
                inside = f"{folder.inside}/{member}" if folder.inside else member
                home = self.raw / collection
                yield (home / folder.file if folder.file else home), inside


def data_image_reader(data: DataDir, folders: tuple[tuple[str, Folder], ...]) -> ImageReader:
    """What reads the images of a data directory, and no other file of this machine.

    Links at a folder that a manifest names, above it, or directly in data/raw/<name> are a person's
    own and lead where they like; others stay within the data directory and these folders.
    """
    named = [data.root, data.raw(""), data.images]
    for collection, folder in folders:
        named += [data.images / folder.path, data.raw(collection)]
        named += [] if folder.file else [data.raw(collection) / folder.inside]
    return ImageReader(data.images, data.raw(""), folders, real_places(named))


def state_here(place: Path) -> int | State | None:
    """The state of a folder or archive of this machine."""
    try:
        state = place.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    return FOLDER if S_ISDIR(state.st_mode) else state.st_mtime_ns


@contextmanager
def _readable(place: Path) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise
    except OSError as error:
        raise _unreadable(error, place) from error


def _unreadable(error: OSError, place: Path) -> UserError:
    where, why = error.filename or place, error.strerror or error
    return UserError(where, f"cannot be read ({why})", _ACCESS)


def _read(place: Path, member: str, max_bytes: int, within: tuple[str, ...]) -> bytes | None:
    """What the folder or archive has under that name; None where it has nothing."""
    if ".." in member and ".." in member.split("/") and place.is_dir():
        return None
    try:
        with open(f"{place}/{member}", "rb", 0, opener=_without_waiting) as file:
            state = os.fstat(file.fileno())
            if not S_ISREG(state.st_mode):
                return None
            if within and not (real := _real(file)).startswith(within):
                top = place / member.partition("/")[0]
                refuse_way_out(str(file.name), real, real_places((top,)))
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


def _without_waiting(path: str, flags: int) -> int:
    """Nothing is waited for: a pipe has no end to write to it."""
    return os.open(path, flags | os.O_NONBLOCK)


def _real(file: FileIO) -> str:
    """Where an open file is once links are followed."""
    try:
        return os.readlink(f"/proc/self/fd/{file.fileno()}")
    except OSError:  # on macOS
        return os.path.realpath(str(file.name))
