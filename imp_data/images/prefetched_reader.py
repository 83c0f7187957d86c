"""Read the images of one batch from an object store, several at a time."""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path, PurePosixPath
from typing import NamedTuple, Protocol

from imp_data.errors import UserError
from imp_data.images.archive_errors import DamagedMember, TooManyBytes
from imp_data.images.archive_members import index_archive, read_member
from imp_data.images.path_spellings import respelling_to_report
from imp_data.images.respelled_paths import StateOf
from imp_data.storage.embedded_names import parse_cell, split_embedded
from imp_data.storage.object_store import ObjectState, object_state
from imp_data.storage.prefetch import map_ahead
from imp_data.storage.range_reader import read_object


class ImageRequest(NamedTuple):
    """An image path, the folder of unpacked images, and its other (place, name there)."""

    images: Path
    image: str
    places: list[tuple[Path, str]]


class RespellingReader(Protocol):
    """Finds an image by another spelling: images.reader.ImageReader."""

    def places(self, image: str) -> Iterator[tuple[Path, str]]:
        """Yield the folders and archives that may contain an image."""

    def find_respelled(self, image: str, state_of: StateOf) -> str | None:
        """Return the path of the one image that matches."""


def _is_cell(request: ImageRequest) -> bool:
    """Return whether an image is in a table."""
    embedded = split_embedded(request.image)
    return embedded is not None and parse_cell(embedded[1]) is not None


_NO_IMAGE = (FileNotFoundError, DamagedMember, TooManyBytes)
_MOST_KEY_BYTES = 1024
_Outcome = tuple[bytes, str | None] | Exception


class PrefetchedReader:
    """Read the states of all places first, then the images, several requests at a time."""

    def __init__(
        self, requests: Sequence[ImageRequest], max_bytes: int, reader: RespellingReader
    ) -> None:
        self._reader = reader
        in_tables = any(_is_cell(request) for request in requests)
        tops = {images / image.partition("/")[0] for images, image, _ in requests}
        places = list(tops | {place for *_, places in requests for place, _ in places})
        self._states = dict(zip(places, map_ahead(object_state, places), strict=True))
        archives = [place for place in places if (state := self._states[place]) and state.change]
        archives = [] if in_tables else archives
        for _ in map_ahead(self._index, archives):
            pass
        outcome = partial(self._outcome, max_bytes=max_bytes)
        # A column is read forward, by one reader: threads would move it under each other.
        self._outcomes: Iterator[_Outcome] = (
            map(outcome, requests) if in_tables else map_ahead(outcome, requests)
        )

    def read(self, image: str, max_bytes: int) -> bytes:
        """Return the next image's bytes; see ImageReader.read_with_spelling."""
        return self.read_with_spelling(image, max_bytes)[0]

    def read_with_spelling(self, image: str, max_bytes: int) -> tuple[bytes, str | None]:
        """Return the next image; requests come in the order of the batch."""
        outcome = next(self._outcomes)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    def _index(self, archive: Path) -> None:
        state = self._states[archive]
        # A file that is no archive raises when an image is read from it.
        with suppress(UserError):
            if state:
                index_archive(archive, state)

    def _outcome(self, request: ImageRequest, max_bytes: int) -> _Outcome:
        try:
            data, other = self._exact(request, max_bytes), None
            if data is None:
                other = self._reader.find_respelled(request.image, self._state)
                if other is not None:
                    again = ImageRequest(request.images, other, [*self._reader.places(other)])
                    data = self._exact(again, max_bytes)
            if data is None:
                raise FileNotFoundError(request.image)
            return data, respelling_to_report(request.image, other)
        except _NO_IMAGE as error:
            return error

    def _exact(self, request: ImageRequest, max_bytes: int) -> bytes | None:
        images, image, places = request
        if self._state(images / image.partition("/")[0]):
            data = _read_loose(images, image, max_bytes)
            if data is not None:
                return data
        for place, member in places:
            data = self._read_place(place, member, max_bytes)
            if data is not None:
                return data
        return None

    def _state(self, place: Path) -> ObjectState | None:
        if place not in self._states:
            self._states[place] = object_state(place)
        return self._states[place]

    def _read_place(self, place: Path, member: str, max_bytes: int) -> bytes | None:
        state = self._state(place)
        if state is None:
            return None
        if state.change:
            return read_member(place, state, member, max_bytes)
        return _read_loose(place, member, max_bytes)


def _read_loose(folder: Path, name: str, max_bytes: int) -> bytes | None:
    """Return a loose image's bytes; None if it does not exist."""
    # Normalize as a local file system does: `a//./b` is `a/b`.
    path = folder / str(PurePosixPath(name))
    if len(str(path).encode()) > _MOST_KEY_BYTES:
        return None
    try:
        data = read_object(path, max_bytes + 1)
    except FileNotFoundError:
        return None
    if len(data) > max_bytes:
        raise TooManyBytes
    return data
