"""Which files a manifest's glob names."""

import re
from pathlib import Path

from fsspec.utils import glob_translate

from imp_data.folders import is_sidecar
from imp_data.places import in_store
from imp_data.store.digests import below


def matching(folder: Path, pattern: str) -> list[Path]:
    """The files below a folder that a glob names, sorted as paths are.

    `*` stands for any characters of a name, `?` for one, `[ab]` for one of these, `**` for any
    folders, none among them. Hidden files and a desktop's sidecars are named by no glob.
    """
    if in_store(folder) or "**" in pattern:
        named = re.compile(glob_translate(pattern))
        found = [folder / name for name in below(folder) if named.match(name)]
    else:
        found = [path for path in folder.glob(pattern) if path.is_file()]
    return sorted((path for path in found if _is_shown(path, folder)), key=lambda path: path.parts)


def is_named(path: str, pattern: str) -> bool:
    """Whether a glob names the file at that path, hidden or not."""
    return re.match(glob_translate(pattern), path) is not None


def _is_shown(path: Path, folder: Path) -> bool:
    return not path.name.startswith(".") and not is_sidecar(path.relative_to(folder).as_posix())
