"""Find the image of a record whose path exists only in another spelling."""

from collections.abc import Callable, Hashable, Iterator
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
from imp_data.storage.listing import is_listed_file, list_names, listing_version
from imp_data.storage.object_store import ObjectState

# FOLDER, or an archive's state, which differs once the archive has changed; None if absent.
StateOf = Callable[[Path], int | ObjectState | None]
FOLDER = ObjectState(0, "")


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
    names = _folder_names(folder, listing_version(folder))
    if len(rest) > 1:
        for name, _ in names.find(rest[0]):
            yield from _loose_files(folder / name, f"{before}{name}/", rest[1:])
    for name, _ in names.find("/".join(rest)):
        if is_listed_file(folder / name):
            yield name_on_disk(before + name)


@lru_cache(maxsize=64)
def _folder_names(folder: Path, version: Hashable) -> NameIndex:
    return NameIndex(map(name_on_disk, list_names(folder)))


@lru_cache(maxsize=64)
def _archive_names(archive: Path, state: int | ObjectState) -> NameIndex:
    return NameIndex(member_names(archive, state))
