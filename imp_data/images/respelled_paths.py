"""Which image a record means whose path, as it is spelled, leads to none."""

from collections.abc import Callable, Hashable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from imp_data.images.archive_members import member_names
from imp_data.images.path_spellings import Named, Names, closeness, on_disk, shown
from imp_data.storage.listing import is_listed_file, list_names, listing_version
from imp_data.storage.object_store import State

# What is there: FOLDER, or an archive's state, which differs once it is another; None if nothing.
StateOf = Callable[[Path], int | State | None]
FOLDER = State(0, "")


class AmbiguousImage(FileNotFoundError):
    """No image has the path as it is spelled, and several have it in another spelling."""

    def __init__(self, image: str, candidates: list[str]) -> None:
        super().__init__(image)
        self.candidates = candidates


class Home(NamedTuple):
    """Where images are whose paths begin with `prefix`: a folder in `place`, or in an archive."""

    prefix: str
    place: Path
    inside: str


def respelled(image: str, homes: list[Home], state_of: StateOf) -> str | None:
    """The path of the one image that is meant, as the folder or archive spells it.

    None if there is none. Raises AmbiguousImage where several come equally close.
    """
    found: dict[str, int] = {}
    for home in homes:
        for path, raw in _candidates(image, home, state_of):
            found.setdefault(path, closeness(image, (path, raw)))
    if not found:
        return None
    nearest = [path for path, step in found.items() if step == min(found.values())]
    if len(nearest) > 1:
        raise AmbiguousImage(image, sorted(map(shown, nearest)))
    return nearest[0]


def _candidates(image: str, home: Home, state_of: StateOf) -> Iterator[Named]:
    prefix = home.prefix.split("/") if home.prefix else []
    steps = image.split("/")
    own, rest = steps[: len(prefix)], steps[len(prefix) :]
    if not rest or (prefix and closeness("/".join(own), on_disk(home.prefix)) > 1):
        return
    begin = f"{home.prefix}/" if prefix else ""
    for name, raw in _within(home, rest, state_of):
        yield begin + name, None if raw is None else begin.encode() + raw


def _within(home: Home, rest: list[str], state_of: StateOf) -> Iterator[Named]:
    """Names relative to the home's own folder."""
    state = state_of(home.place)
    if state is None:
        return
    if state == FOLDER:
        yield from _loose(home.place / home.inside, "", rest)
        return
    begin = f"{home.inside}/" if home.inside else ""
    for name, raw in _archived(home.place, state).like(begin + "/".join(rest)):
        if name.startswith(begin):
            yield name[len(begin) :], raw and raw[len(begin.encode()) :]


def _loose(folder: Path, before: str, rest: list[str]) -> Iterator[Named]:
    """Files below a folder; one may have a backslash in its name where others have a folder."""
    names = _in_folder(folder, listing_version(folder))
    if len(rest) > 1:
        for name, _ in names.like(rest[0]):
            yield from _loose(folder / name, f"{before}{name}/", rest[1:])
    for name, _ in names.like("/".join(rest)):
        if is_listed_file(folder / name):
            yield on_disk(before + name)


@lru_cache(maxsize=64)
def _in_folder(folder: Path, version: Hashable) -> Names:
    return Names(map(on_disk, list_names(folder)))


@lru_cache(maxsize=64)
def _archived(archive: Path, state: int | State) -> Names:
    return Names(member_names(archive, state))
