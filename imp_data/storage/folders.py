"""Files below a folder, through links too; and which of them only a desktop has put there."""

import os
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from pathlib import Path

from imp_data.errors import UserError
from imp_data.storage.object_path import ObjectPath

LINKED = "IMP_LINKED_FOLDERS"
_SIDECARS = frozenset({"__macosx", ".ds_store", "thumbs.db", "desktop.ini"})


def is_sidecar(name: str) -> bool:
    """Whether a file or archive member (`a/._1.jpg`) is what macOS or Windows put beside others.

    `._1.jpg` holds the attributes of `1.jpg` (AppleDouble), whatever its ending promises.
    """
    return any(s.startswith("._") or s.lower() in _SIDECARS for s in name.split("/"))


def files_below(
    folder: Path, unreadable: Callable[[OSError], object] | None = None
) -> list[tuple[str, os.stat_result]]:
    """Relative name and state of every file below a folder, sorted as paths are.

    Symbolic links are followed; one that leads to a folder around it ends there, and one that leads
    nowhere is left out. `unreadable` is told of folders that may not be read; without it they count
    as empty.
    """
    begin = len(os.path.join(folder, ""))
    own = os.stat(folder)
    found = _files(str(folder), frozenset({(own.st_dev, own.st_ino)}), unreadable)
    named = [(path[begin:], state) for path, state in found]
    return sorted(named, key=lambda one: one[0].split("/"))


def _files(
    folder: str,
    around: frozenset[tuple[int, int]],
    unreadable: Callable[[OSError], object] | None,
) -> Iterator[tuple[str, os.stat_result]]:
    """`around`: device and inode of the folder and of those it was reached through."""
    try:
        entries = list(os.scandir(folder))
    except OSError as error:
        if unreadable is not None:
            unreadable(error)
        return
    for entry in entries:
        try:
            state = os.stat(entry.path)
            is_file, is_folder = entry.is_file(), entry.is_dir()
        except OSError:
            continue  # a link that leads nowhere, or round; or a file that has gone since
        identity = (state.st_dev, state.st_ino)
        if is_file:
            yield entry.path, state
        elif is_folder and identity not in around:
            yield from _files(entry.path, around | {identity}, unreadable)


def real_places(paths: Iterable[Path | str]) -> tuple[str, ...]:
    """Return where these folders are once links are followed, each with a slash at its end.

    Leave out those in an object store, which has no links.
    """
    found = [os.path.realpath(path) for path in paths if not isinstance(path, ObjectPath)]
    return tuple(dict.fromkeys(os.path.join(path, "") for path in found))


def refuse_way_out(path: Path | str, real: str, places: tuple[str, ...]) -> None:
    """Raise UserError unless `real`, where `path` is once links are followed, is in a place.

    Of `real_places`. What unpacks an archive by hand may lay links that lead anywhere; a person
    links whole folders, at the top, or names in IMP_LINKED_FOLDERS where links may lead (the caches
    of the Hub and of git-annex hold files that are linked one by one).
    """
    if not os.path.join(real, "").startswith((*places, *_linked(os.environ.get(LINKED, "")))):
        raise UserError(
            path,
            f"is behind a link that leads out of the data directory, to {real}",
            "put the files themselves there, link the whole folder that a manifest names, or name "
            f"the folder that it leads to in {LINKED}",
        )


@cache
def _linked(folders: str) -> tuple[str, ...]:
    return real_places(filter(None, folders.split(os.pathsep)))
