"""Files below a folder, and which of them only a desktop has put there."""

import os
from collections.abc import Iterator
from pathlib import Path

_SIDECARS = frozenset({"__MACOSX", ".DS_Store", "Thumbs.db", "desktop.ini"})


def is_sidecar(name: str) -> bool:
    """Whether a file or archive member (`a/._1.jpg`) is what macOS or Windows put beside others.

    `._1.jpg` holds the attributes of `1.jpg` (AppleDouble), whatever its ending promises.
    """
    return any(step in _SIDECARS or step.startswith("._") for step in name.split("/"))


def files_below(folder: Path) -> Iterator[Path]:
    """Every file below a folder, through symbolic links too, in no particular order.

    A link that leads to a folder around it ends there, as one that leads nowhere does. Sidecars
    are left out.
    """
    state = os.stat(folder)
    for path in _files(str(folder), frozenset({(state.st_dev, state.st_ino)})):
        yield Path(path)


def _files(folder: str, around: frozenset[tuple[int, int]]) -> Iterator[str]:
    """`around`: device and inode of the folder and of those it was reached through."""
    with os.scandir(folder) as entries:
        for entry in entries:
            if is_sidecar(entry.name):
                continue
            if entry.is_file():
                yield entry.path
            elif entry.is_dir():
                state = os.stat(entry.path)
                identity = (state.st_dev, state.st_ino)
                if identity not in around:
                    yield from _files(entry.path, around | {identity})
