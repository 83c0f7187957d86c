"""Images of one batch, read from an object store some at a time."""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path, PurePosixPath
from typing import NamedTuple, Protocol

from imp_data.errors import UserError
from imp_data.images.archive_members import DamagedMember, TooManyBytes, learn, read_member
from imp_data.images.path_spellings import noted
from imp_data.images.respelled_paths import StateOf
from imp_data.storage.object_store import State, state_of
from imp_data.storage.prefetch import at_once
from imp_data.storage.range_reader import first_bytes


class ImageRequest(NamedTuple):
    """An image: its name, the folder of unpacked ones, (place, name there) where else it may be."""

    images: Path
    image: str
    places: list[tuple[Path, str]]


class Respelling(Protocol):
    """What finds an image by another spelling: images.archive.Shelf."""

    def places(self, image: str) -> Iterator[tuple[Path, str]]:
        """Where else than unpacked an image may be."""

    def respelled(self, image: str, state_of: StateOf) -> str | None:
        """The path of the one image that is meant."""


_NO_IMAGE = (FileNotFoundError, DamagedMember, TooManyBytes)
_MOST_KEY_BYTES = 1024


class PrefetchedReader:
    """What is asked of a store before any image: which places are there, and in what state."""

    def __init__(self, asked: Sequence[ImageRequest], max_bytes: int, reader: Respelling) -> None:
        self._shelf = reader
        tops = {images / image.partition("/")[0] for images, image, _ in asked}
        places = list(tops | {place for *_, places in asked for place, _ in places})
        self._states = dict(zip(places, at_once(state_of, places), strict=True))
        archives = [place for place in places if (state := self._states[place]) and state.change]
        for _ in at_once(self._learn, archives):
            pass
        self._found = at_once(partial(self._outcome, max_bytes=max_bytes), asked)

    def read(self, image: str, max_bytes: int) -> bytes:
        """The next image's bytes; see `found`."""
        return self.found(image, max_bytes)[0]

    def found(self, image: str, max_bytes: int) -> tuple[bytes, str | None]:
        """The next image: they are asked for in the order given. See Shelf.found."""
        outcome = next(self._found)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    def _learn(self, archive: Path) -> None:
        state = self._states[archive]
        # One that is none is named when an image is asked of it.
        with suppress(UserError):
            if state:
                learn(archive, state)

    def _outcome(self, asked: ImageRequest, max_bytes: int) -> tuple[bytes, str | None] | Exception:
        try:
            data, other = self._exact(asked, max_bytes), None
            if data is None:
                other = self._shelf.respelled(asked.image, self._state)
                if other is not None:
                    again = ImageRequest(asked.images, other, [*self._shelf.places(other)])
                    data = self._exact(again, max_bytes)
            if data is None:
                raise FileNotFoundError(asked.image)
            return data, noted(asked.image, other)
        except _NO_IMAGE as error:
            return error

    def _exact(self, asked: ImageRequest, max_bytes: int) -> bytes | None:
        images, image, places = asked
        if self._state(images / image.partition("/")[0]):
            data = _loose(images, image, max_bytes)
            if data is not None:
                return data
        for place, member in places:
            data = self._from(place, member, max_bytes)
            if data is not None:
                return data
        return None

    def _state(self, place: Path) -> State | None:
        if place not in self._states:
            self._states[place] = state_of(place)
        return self._states[place]

    def _from(self, place: Path, member: str, max_bytes: int) -> bytes | None:
        state = self._state(place)
        if state is None:
            return None
        if state.change:
            return read_member(place, state, member, max_bytes)
        return _loose(place, member, max_bytes)


def _loose(folder: Path, name: str, max_bytes: int) -> bytes | None:
    """A loose image; None if there is none."""
    # As a folder of this machine would have it: `a//./b` is `a/b`.
    path = folder / str(PurePosixPath(name))
    if len(str(path).encode()) > _MOST_KEY_BYTES:
        return None
    try:
        data = first_bytes(path, max_bytes + 1)
    except FileNotFoundError:
        return None
    if len(data) > max_bytes:
        raise TooManyBytes
    return data
