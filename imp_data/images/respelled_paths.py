"""Find the image of a record whose path exists only in another spelling."""

import os
import time
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from imp_data.images.archive_members import member_names
from imp_data.images.path_spellings import (
    EncodedName,
    NameIndex,
    escape_name,
    name_on_disk,
    spelling_distance,
)
from imp_data.storage.object_store import State
from imp_data.storage.paths import in_store, reached, there

# FOLDER, or an archive's state, which differs once the archive has changed; None if absent.
StateOf = Callable[[Path], int | State | None]
FOLDER = State(0, "")
# Folders of a store have no modification time: their names are listed again after this time.
_STORE_LISTING_S = 300


class AmbiguousImage(FileNotFoundError):
    """No image has the exact path, and several have it in another spelling."""

    def __init__(self, image: str, candidates: list[str]) -> None:
        super().__init__(image)
        self.candidates = candidates


class ImageRoot(NamedTuple):
    """The place of images whose paths begin with `prefix`: a folder, or one in an archive."""

    prefix: str
    place: Path
    inside: str


def find_respelled(image: str, roots: list[ImageRoot], state_of: StateOf) -> str | None:
    """Return the path of the one matching image, as the folder or archive spells it.

    Return None if there is none. Raise AmbiguousImage if several are equally near.
    """
    found: dict[str, int] = {}
    for root in roots:
        for path, raw in _candidates(image, root, state_of):
            found.setdefault(path, spelling_distance(image, (path, raw)))
    if not found:
        return None
    nearest = [path for path, step in found.items() if step == min(found.values())]
    if len(nearest) > 1:
        raise AmbiguousImage(image, sorted(map(escape_name, nearest)))
    return nearest[0]


def _candidates(image: str, root: ImageRoot, state_of: StateOf) -> Iterator[EncodedName]:
    prefix = root.prefix.split("/") if root.prefix else []
    steps = image.split("/")
    own, rest = steps[: len(prefix)], steps[len(prefix) :]
    if not rest or (prefix and spelling_distance("/".join(own), name_on_disk(root.prefix)) > 1):
        return
    begin = f"{root.prefix}/" if prefix else ""
    for name, raw in _names_below(root, rest, state_of):
        yield begin + name, None if raw is None else begin.encode() + raw


def _names_below(root: ImageRoot, rest: list[str], state_of: StateOf) -> Iterator[EncodedName]:
    """Yield names relative to the root's own folder."""
    state = state_of(root.place)
    if state is None:
        return
    if state == FOLDER:
        yield from _loose_files(root.place / root.inside, "", rest)
        return
    begin = f"{root.inside}/" if root.inside else ""
    for name, raw in _archive_names(root.place, state).find(begin + "/".join(rest)):
        if name.startswith(begin):
            yield name[len(begin) :], raw and raw[len(begin.encode()) :]


def _loose_files(folder: Path, before: str, rest: list[str]) -> Iterator[EncodedName]:
    """Yield matching files below a folder; a backslash in a name may stand for a folder."""
    names = _folder_names(folder, _folder_version(folder))
    if len(rest) > 1:
        for name, _ in names.find(rest[0]):
            yield from _loose_files(folder / name, f"{before}{name}/", rest[1:])
    for name, _ in names.find("/".join(rest)):
        if in_store(folder) or os.path.isfile(f"{folder}/{name}"):
            yield name_on_disk(before + name)


def _folder_version(folder: Path) -> int:
    if in_store(folder):
        return int(time.monotonic()) // _STORE_LISTING_S
    try:
        return folder.stat().st_mtime_ns
    except OSError:
        return 0  # an absent or unreadable folder has no names


@lru_cache(maxsize=64)
def _folder_names(folder: Path, age: int) -> NameIndex:
    if in_store(folder):
        found = there(folder)
        try:
            with reached(folder):
                listed = found.fs.ls(found.path, detail=False)
        except (FileNotFoundError, NotADirectoryError):
            listed = []
        return NameIndex((name.rstrip("/").rpartition("/")[2], None) for name in listed)
    try:
        return NameIndex(map(name_on_disk, os.listdir(folder)))
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return NameIndex([])


@lru_cache(maxsize=64)
def _archive_names(archive: Path, state: int | State) -> NameIndex:
    return NameIndex(member_names(archive, state))
