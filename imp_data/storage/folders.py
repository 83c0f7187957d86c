"""List files below a folder, follow links safely, and recognize a desktop's sidecar files."""

import os
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from pathlib import Path

from imp_data.errors import UserError
from imp_data.storage.object_path import ObjectPath

LINKED = "IMP_LINKED_FOLDERS"
_SIDECARS = frozenset({"__macosx", ".ds_store", "thumbs.db", "desktop.ini"})


def is_sidecar(name: str) -> bool:
    """Return whether macOS or Windows added a file or archive member, such as `a/._1.jpg`.

    `._1.jpg` holds the attributes of `1.jpg` (AppleDouble), despite its extension.
    """
    return any(s.startswith("._") or s.lower() in _SIDECARS for s in name.split("/"))


def list_files(
    folder: Path, unreadable: Callable[[OSError], object] | None = None
) -> list[tuple[str, os.stat_result]]:
    """Return relative name and state of every file below a folder, sorted as paths are.

    Follow symbolic links, but no link to an enclosing folder and no broken link. Pass the error of
    a folder that is not readable to `unreadable`; without it the folder counts as empty.
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
    """Yield files; `around` holds device and inode of the folder and its enclosing folders."""
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
            continue  # a broken or cyclic link, or a file deleted since
        identity = (state.st_dev, state.st_ino)
        if is_file:
            yield entry.path, state
        elif is_folder and identity not in around:
            yield from _files(entry.path, around | {identity}, unreadable)


def real_folders(paths: Iterable[Path | str]) -> tuple[str, ...]:
    """Return the real paths of folders, with links resolved, each with a trailing slash.

    Omit folders in an object store, which has no links.
    """
    found = [os.path.realpath(path) for path in paths if not isinstance(path, ObjectPath)]
    return tuple(dict.fromkeys(os.path.join(path, "") for path in found))


def check_member_inside(folder: Path, name: str) -> None:
    """Raise UserError if a link below the folder's direct children leads a new file out of it.

    An object store has no links.
    """
    if isinstance(folder, ObjectPath):
        return
    places = real_folders((folder, folder.parent, folder / name.partition("/")[0]))
    check_inside(folder / name, os.path.realpath((folder / name).parent), places)


def check_inside(path: Path | str, real: str, places: tuple[str, ...]) -> None:
    """Raise UserError unless `real`, the real path of `path`, is in one of `places`.

    `places` come from `real_folders`. An archive that is extracted by hand may create links to any
    file. Users link whole folders at the top level, or name allowed targets in IMP_LINKED_FOLDERS
    (the caches of the Hub and of git-annex hold files that are linked one by one).
    """
    if not os.path.join(real, "").startswith((*places, *_linked(os.environ.get(LINKED, "")))):
        raise UserError(
            path,
            f"is reached by a link out of the data directory, to {real}",
            "copy the files there, link the whole folder that a manifest names, or list the "
            f"folder that it links to in {LINKED}",
        )


@cache
def _linked(folders: str) -> tuple[str, ...]:
    return real_folders(filter(None, folders.split(os.pathsep)))
