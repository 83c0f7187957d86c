"""Names in a folder, on this machine or in an object store."""

import os
import time
from collections.abc import Hashable
from functools import cached_property
from pathlib import Path

from imp_data.storage.digests import file_sizes
from imp_data.storage.object_path import ObjectPath, store_errors

# Folders of a store have no time of change, so their names are listed anew after so long.
_STORE_LISTING_S = 300


class NamesBelow:
    """The names of files below a folder: looked up on disk, or listed once in an object store."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __contains__(self, name: str) -> bool:
        if isinstance(self._folder, ObjectPath):
            return name in self._listed
        return (self._folder / name).exists()  # a disk may ignore case

    @cached_property
    def _listed(self) -> set[str]:
        return {*file_sizes(self._folder)}


def list_names(folder: Path) -> list[str]:
    """List the names of files and folders directly in a folder; none if there is no folder."""
    try:
        if not isinstance(folder, ObjectPath):
            return os.listdir(folder)
        with store_errors(folder):
            listed = folder.fs.ls(folder.key, detail=False)
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return []
    return [name.rstrip("/").rpartition("/")[2] for name in listed]


def listing_version(folder: Path) -> Hashable:
    """Return a value that differs once a folder's names may have changed."""
    if isinstance(folder, ObjectPath):
        return int(time.monotonic()) // _STORE_LISTING_S
    try:
        return folder.stat().st_mtime_ns
    except OSError:
        return 0  # no folder, or none that may be read: it has no names


def is_listed_file(path: Path) -> bool:
    """Return whether a listed name is a file; assumed in a store, where it would cost a request."""
    return isinstance(path, ObjectPath) or os.path.isfile(path)
